/** Things to undo, newest first. (Node 20 has no AsyncDisposableStack.) */
export class Cleanup implements AsyncDisposable {
  #steps: (() => PromiseLike<unknown>)[] = [];

  add(step: () => PromiseLike<unknown>): void {
    this.#steps.push(step);
  }

  /** Every step is taken, whatever the others do; the first error is thrown at the end. */
  async [Symbol.asyncDispose](): Promise<void> {
    const errors: unknown[] = [];
    for (let step = this.#steps.pop(); step !== undefined; step = this.#steps.pop()) {
      try {
        await step();
      } catch (error) {
        errors.push(error);
      }
    }
    if (errors.length > 0) throw errors[0];
  }
}
