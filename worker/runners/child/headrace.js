// What a script may ask about the run that it is executing:
//
//   import { run } from "headrace";
//
//   export async function main(payload: string) {
//     const key = run.idempotencyKey;   // the same at every attempt: hand it to what must act only once
//     const site = run.captures.site;   // of the topic filter plant/{site}/temp
//   }

let current = null;

const FIELDS = {
  id: (run) => run.id,
  idempotencyKey: (run) => run.idempotency_key,
  attempt: (run) => run.attempt,
  origin: (run) => run.origin ?? "message",
  parent: (run) => run.parent ?? null,
  root: (run) => run.root ?? null,
  traceparent: (run) => run.traceparent ?? null,
  tracestate: (run) => run.tracestate ?? null,
  trigger: (run) => run.trigger,
  topic: (run) => run.topic,
  qos: (run) => run.qos,
  captures: (run) => ({ ...run.captures }),
  receivedAt: (run) => run.received_at && new Date(run.received_at),
};

export const run = {};

for (const [name, read] of Object.entries(FIELDS)) {
  Object.defineProperty(run, name, {
    enumerable: true,
    get() {
      if (current === null) {
        throw new Error(`run.${name} is known only while main or preprocessor runs: read it there`);
      }
      const value = read(current);
      if (value === undefined) throw new Error(`this run has no ${name}: no message made it`);
      return value;
    },
  });
}

/** Called by the runner: the context of the run that begins, null when it has ended. */
export function enter(context) {
  current = context;
}
