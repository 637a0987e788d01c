import { isCoordinationError } from 'tricord';
import { holdSale, Interrupted } from './hold-sale.js';
import { NodeFault } from './node.js';
import { BadFlag, HELP, readOptions } from './options.js';
import { isServices, readServicesOptions, SERVICES_HELP } from './services/options.js';

const EXIT = { clean: 0, failed: 1, badFlags: 2, interrupted: 130 } as const;

process.exitCode = await main(process.argv.slice(2));

async function main(args: readonly string[]): Promise<number> {
  const interrupt = new AbortController();
  const onSignal = (): void => interrupt.abort(new Interrupted());
  // Once: whoever presses Ctrl-C twice means it, and what is left over is reaped.
  process.once('SIGINT', onSignal).once('SIGTERM', onSignal);
  try {
    if (isServices(args)) {
      if (args.includes('--help')) process.stdout.write(SERVICES_HELP);
      else if (!(await holdServices(args, interrupt.signal))) return EXIT.failed;
      return EXIT.clean;
    }
    const options = readOptions(args);
    if (options === 'help') {
      process.stdout.write(`${HELP}\n${SERVICES_HELP}`);
      return EXIT.clean;
    }
    return (await holdSale(options, interrupt.signal)) ? EXIT.clean : EXIT.failed;
  } catch (error) {
    process.stderr.write(`${explain(error)}\n`);
    if (error instanceof BadFlag) return EXIT.badFlags;
    return error instanceof Interrupted ? EXIT.interrupted : EXIT.failed;
  } finally {
    process.off('SIGINT', onSignal).off('SIGTERM', onSignal);
  }
}

async function holdServices(args: readonly string[], signal: AbortSignal): Promise<boolean> {
  const options = readServicesOptions(args);
  // Loaded only here, so that the demo in memory needs no client of a server.
  const { holdServicesSale } = await import('./services/hold-services-sale.js');
  return holdServicesSale(options, signal);
}

/** One readable sentence for what a person can mend; everything that is known for the rest. */
function explain(error: unknown): string {
  if (error instanceof BadFlag) return `${error.message}\nnpm run demo -- --help tells the flags.`;
  if (error instanceof Interrupted || error instanceof NodeFault) return error.message;
  if (isCoordinationError(error)) return `${error.code}: ${error.message}`;
  if (!(error instanceof Error)) return String(error);
  const cause = error.cause instanceof Error ? `: ${error.cause.message}` : '';
  return `${error.message}${cause}\n${error.stack}`;
}
