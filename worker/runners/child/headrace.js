// What a script may ask about the run that it is executing, and how it publishes to MQTT:
//
//   import { publish, run } from "headrace";
//
//   export async function main(payload: string) {
//     const key = run.idempotencyKey;   // the same at every attempt: hand it to what must act only once
//     const site = run.captures.site;   // of the topic filter plant/{site}/temp
//     publish(`alarm/${site}`, { level: 3 });
//   }

const MAX_MESSAGES = 1000; // what one run may publish
const MAX_TOPIC_BYTES = 65535;

let current = null;
let messages = [];
let waitingBytes = 0;
let limitBytes = 8 * 1024 * 1024;

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

/**
 * Publish a message when this run has succeeded, in the same step as its end: a run that fails publishes nothing.
 *
 * It is published at least once (qos 1) or at most once (0), in the order of the calls. The payload is a Uint8Array,
 * text, or what becomes JSON. Options: qos, retain, broker (path of a resource; the trigger's by default), contentType,
 * responseTopic, correlationData, userProperties ([name, value] pairs), expiresInS.
 */
export function publish(topic, payload = "", options = {}) {
  const context = executing("publish");
  if (!options.broker && context.brokerless) {
    throw new Error("no message made this run, so it has no broker of its own: publish(…, …, { broker: 'f/…' })");
  }
  const { qos, retain, broker, contentType, responseTopic, correlationData, userProperties, expiresInS } = options;
  add({
    topic: checkedTopic(topic),
    qos: checkedLevel(qos ?? 1),
    retain: retain || undefined,
    broker: broker || undefined,
    content_type: contentType,
    response_topic: responseTopic && checkedTopic(responseTopic),
    correlation_data: correlationData && base64(bytes(correlationData)),
    user_properties: userProperties?.map(([name, value]) => [String(name), String(value)]),
    expires_in_s: expiresInS === undefined ? undefined : checkedSeconds(expiresInS),
  }, payload);
}

/**
 * Answer the message that this run is for: as publish, to its response topic with its correlation data (MQTT 5).
 * Options: topic, for messages that ask for no answer themselves; qos, contentType.
 */
export function reply(payload = "", options = {}) {
  const asked = executing("reply").response_topic;
  const topic = options.topic ?? asked;
  if (topic === undefined) {
    throw new Error("the message names no response topic: say where to with reply(…, { topic: '…' })");
  }
  const { qos, contentType: content_type } = options;
  const is_reply = asked !== undefined || undefined;
  add({ topic: checkedTopic(topic), qos: checkedLevel(qos ?? 1), content_type, is_reply }, payload);
}

function executing(name) {
  if (current === null) throw new Error(`${name} is for main and preprocessor: no run executes now`);
  return current;
}

function add(message, payload) {
  const data = bytes(payload);
  const size = data.length + JSON.stringify(message).length;
  if (messages.length >= MAX_MESSAGES) {
    throw new RangeError(`a run may publish ${MAX_MESSAGES} messages: publish fewer, or larger ones`);
  }
  if (waitingBytes + size > limitBytes) {
    throw new RangeError(`a run may publish ${limitBytes} bytes in all: the ${size} of this message are too many`);
  }
  waitingBytes += size;
  messages.push({ ...message, payload: base64(data) });
}

function bytes(payload) {
  if (payload instanceof Uint8Array) return payload;
  return new TextEncoder().encode(typeof payload === "string" ? payload : JSON.stringify(payload));
}

function base64(data) {
  let text = "";
  for (let at = 0; at < data.length; at += 8192) text += String.fromCharCode(...data.subarray(at, at + 8192));
  return btoa(text);
}

function checkedTopic(topic) {
  if (typeof topic !== "string" || topic === "" || /[+#\0]/.test(topic)) {
    throw new TypeError(`${JSON.stringify(topic)} is no topic to publish to: text without + # and U+0000`);
  }
  const size = new TextEncoder().encode(topic).length;
  if (size > MAX_TOPIC_BYTES) throw new RangeError(`a topic of ${size} bytes: MQTT has at most ${MAX_TOPIC_BYTES}`);
  return topic;
}

function checkedLevel(qos) {
  if (qos !== 0 && qos !== 1) throw new RangeError(`qos ${qos}: messages are published at QoS 0 or 1`);
  return qos;
}

function checkedSeconds(seconds) {
  if (!Number.isInteger(seconds) || seconds < 1 || seconds > 4294967295) {
    throw new RangeError(`expiresInS is ${seconds}, and has to be a number of seconds above 0`);
  }
  return seconds;
}

/** Called by the runner: the context of the run that begins, null when it has ended. What was published since. */
export function enter(context) {
  current = context;
  const published = messages;
  messages = [];
  waitingBytes = 0;
  return published;
}

/** Called by the runner: how many bytes of payload one run may publish. */
export function limit(maxBytes) {
  limitBytes = maxBytes;
}
