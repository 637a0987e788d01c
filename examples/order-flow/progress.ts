import { Presets, SingleBar } from 'cli-progress';

/** Shows how far the sale is: a bar on a terminal, a line now and then when piped. */
export interface Progress {
  advance(servedCount: number, soldCount: number): void;
  /** A line of text that stays, above the bar. */
  note(text: string): void;
  stop(): void;
}

export function showProgress(total: number, out: NodeJS.WriteStream = process.stdout): Progress {
  return out.isTTY ? bar(total, out) : lines(total, out);
}

function bar(total: number, stream: NodeJS.WriteStream): Progress {
  const format = '  {bar} {percentage}%  {value}/{total} buyers served, {sold} units sold';
  const shown = new SingleBar({ format, stream, hideCursor: true }, Presets.shades_classic);
  shown.start(total, 0, { sold: 0 });
  return {
    advance: (served, sold) => shown.update(served, { sold }),
    note(text) {
      // The bar writes without an end of line; the note takes its place and the bar goes on below.
      stream.write(`\r\x1b[K${text}\n`);
    },
    stop: () => shown.stop(),
  };
}

function lines(total: number, out: NodeJS.WriteStream): Progress {
  const step = Math.max(1, Math.ceil(total / 5));
  let next = step;
  return {
    advance(served, sold) {
      if (served < next && served < total) return;
      if (next > total) return;
      next = served >= total ? total + 1 : (Math.floor(served / step) + 1) * step;
      out.write(`  ${served} of ${total} buyers served, ${sold} units sold\n`);
    },
    note: (text) => void out.write(`${text}\n`),
    stop() {},
  };
}
