/** What one node answered, or why it did not. */
export type Answer<Reply> =
  | { readonly ok: true; readonly reply: Reply }
  | { readonly ok: false; readonly error: unknown };

/**
 * Asks all nodes at once and looks after each answer whether they suffice: a node that is slow or
 * down costs nothing while the others agree. `decide` gets the answers by node, undefined for those
 * to come, and is called for the last time when all are there. Never rejects by itself; what `decide`
 * throws is the rejection.
 */
export function gather<Node, Reply, Result>(
  nodes: readonly Node[],
  ask: (node: Node) => Promise<Reply>,
  decide: (answers: readonly (Answer<Reply> | undefined)[], isAll: boolean) => Result | undefined,
): Promise<Result> {
  return new Promise((resolve, reject) => {
    const answers: (Answer<Reply> | undefined)[] = nodes.map(() => undefined);
    let missing = nodes.length;
    let isDecided = false;
    const settle = (index: number, answer: Answer<Reply>): void => {
      answers[index] = answer;
      missing -= 1;
      if (isDecided) return;
      try {
        const result = decide(answers, missing === 0);
        if (result === undefined && missing > 0) return;
        isDecided = true;
        resolve(result as Result);
      } catch (error) {
        isDecided = true;
        reject(error);
      }
    };
    for (const [index, node] of nodes.entries()) {
      ask(node).then(
        (reply) => settle(index, { ok: true, reply }),
        (error) => settle(index, { ok: false, error }),
      );
    }
  });
}
