import type { CuttingProxy } from '../servers/proxy.js';

/** Swallows replies through a proxy from now on; answers how to cut those connections, and pass. */
export function loseReplies(proxy: CuttingProxy): () => Promise<void> {
  proxy.dropReplies();
  return () => proxy.pass();
}
