import type { Engine } from './handle.js';
import { freePort } from './ports.js';
import { reapLater, reapNoMore } from './reaper.js';
import type { ContainerPlan } from './recipe.js';

/** Runs a server's image by testcontainers, on a port that it keeps over restarts. */
export async function containerEngine(plan: ContainerPlan): Promise<Engine> {
  // The reaper of this folder does the work of testcontainers' own, without another image.
  process.env.TESTCONTAINERS_RYUK_DISABLED ??= 'true';
  const { GenericContainer, getContainerRuntimeClient } = await import('testcontainers');
  const { container: docker } = await getContainerRuntimeClient();
  const port = await freePort();
  const started = await new GenericContainer(plan.image)
    .withExposedPorts({ container: plan.port, host: port })
    .withEnvironment({ ...plan.environment })
    .withCommand([...(plan.command ?? [])])
    .start();
  const id = started.getId();
  reapLater('container', id);
  const container = docker.getById(id);
  let isRunning = true;
  let isPaused = false;

  const resume = async () => {
    if (isPaused) await container.unpause();
    isPaused = false;
  };
  return {
    // By number: "localhost" may mean ::1 first, where Docker need not listen.
    host: started.getHost().replace(/^localhost$/, '127.0.0.1'),
    port,
    get isRunning() {
      return isRunning;
    },
    async start() {
      if (!isRunning) await container.start();
      isRunning = true;
    },
    async stop() {
      await resume();
      if (isRunning) await container.stop({ t: 10 });
      isRunning = false;
    },
    async kill() {
      // Docker refuses to signal what its freezer holds.
      await resume();
      if (isRunning) await container.kill({ signal: 'SIGKILL' });
      if (isRunning) await container.wait();
      isRunning = false;
    },
    async pause() {
      if (!isPaused) await container.pause();
      isPaused = true;
    },
    resume,
    async remove() {
      await container.remove({ force: true, v: true });
      reapNoMore('container', id);
      isRunning = false;
    },
    async log() {
      const output = await container.logs({
        stdout: true,
        stderr: true,
        tail: 20,
      });
      return output.toString('utf8');
    },
  };
}
