// The process that runs a script in TypeScript or JavaScript: a line of JSON in, the user's function, a line out, one at
// a time, until the socket closes. The first line says which script, and its answer whether it could be loaded.

import { enter, limit } from "./headrace.js";

const MAX_TEXT = 65536;
const NOT_GIVEN = "<function call>"; // Windmill's mark for an argument that was to be computed

const connection = await Deno.connect({ transport: "unix", path: Deno.args[0] });
const exit = Deno.exit;
const settings = {};
let script = {};
let main;
let clients = [];
let fail = null; // ends the run that executes

/** The lines that come, without holding more than one. */
async function* lines() {
  const decoder = new TextDecoder();
  let parts = [];
  for await (const chunk of connection.readable) {
    parts.push(decoder.decode(chunk, { stream: true }));
    if (chunk.at(-1) === 10) {
      yield parts.join("");
      parts = [];
    }
  }
}

async function answer(said) {
  let rest = new TextEncoder().encode(JSON.stringify(said) + "\n");
  while (rest.length) rest = rest.subarray(await connection.write(rest));
}

function readable(name) {
  try {
    return String(name());
  } catch (error) {
    return `<this threw ${error?.name}>`;
  }
}

/** An error as {name, message, stack, extra?}: the stack ends at the last of the user's own lines. */
function describe(error) {
  if (!(error instanceof Error)) return { name: "Error", message: readable(() => error).slice(0, MAX_TEXT), stack: "" };
  const name = readable(() => error.name === "Error" ? error.constructor.name : error.name);
  const message = readable(() => error.message).slice(0, MAX_TEXT);
  const stack = readable(() => error.stack ?? "").split("\n");
  const end = stack.findLastIndex((line) => line.includes(settings.root));
  const kept = stack.slice(0, end + 1).join("\n").replaceAll(settings.root, "").slice(0, MAX_TEXT);
  const described = { name, message: message.replaceAll(settings.root, ""), stack: kept };
  const extra = attributes(error);
  return Object.keys(extra).length ? { ...described, extra } : described;
}

/** The error's own properties, as far as they are JSON. */
function attributes(error) {
  const kept = {};
  for (const name of Object.keys(error)) {
    try {
      const text = JSON.stringify(error[name]);
      if (name !== "name" && text !== undefined && text.length <= MAX_TEXT) kept[name] = JSON.parse(text);
    } catch {
      continue;
    }
  }
  return kept;
}

/** The values of these parameters in their order; one without a value is undefined, so that it takes its default. */
function positions(names, values) {
  return names.map((name) => values[name] === NOT_GIVEN ? undefined : values[name]);
}

/** As JSON holds it. Throws when it is too long. */
function plain(value) {
  const text = JSON.stringify(value, (_key, item) => typeof item === "bigint" ? item.toString() : item);
  if (text === undefined) return null;
  if (text.length > settings.max_result_bytes) {
    throw Object.assign(new Error(
      `the result is ${text.length} bytes of JSON, at most ${settings.max_result_bytes} are kept: store it elsewhere`,
    ), { name: "ResultTooLarge" });
  }
  return JSON.parse(text);
}

async function load(given) {
  Object.assign(settings, given);
  limit(settings.max_result_bytes);
  script = await import(settings.entry);
  const name = settings.function;
  main = script[name] ?? (name === "main" ? script.default : undefined);
  if (typeof main !== "function") {
    throw new TypeError(`the script exports no function ${name}: add \`export async function ${name}(payload) { ... }\``);
  }
  const modules = await Promise.all(settings.clients.map((name) => import(name)));
  clients = modules.filter((module) => typeof module.setClient === "function");
  return {};
}

async function execute(call) {
  if (!call.event) return { result: plain(await main(...positions(settings.parameters, call.args))) };
  if (typeof script.preprocessor !== "function") {
    throw new TypeError("the script exports no function preprocessor: add it, or deploy the script again");
  }
  const args = await script.preprocessor(...positions(settings.event_parameters, call.event));
  if (args === null || typeof args !== "object" || Array.isArray(args)) {
    throw new TypeError("preprocessor must return an object with main's arguments");
  }
  const said = { args: plain(args) };
  try {
    said.result = plain(await main(...positions(settings.parameters, args)));
  } catch (error) {
    said.error = describe(error);
  }
  return said;
}

let before = {};

/** The environment of this run; Windmill's client has read the one of an earlier run. */
function surround(wanted) {
  for (const name of Object.keys(before)) if (!(name in wanted)) Deno.env.delete(name);
  for (const [name, value] of Object.entries(wanted)) if (before[name] !== value) Deno.env.set(name, value);
  before = wanted;
  for (const client of clients) client.setClient(wanted.WM_TOKEN);
}

// What is thrown where nobody awaits it ends the run that executes, not the process.
for (const kind of ["error", "unhandledrejection"]) {
  globalThis.addEventListener(kind, (event) => {
    event.preventDefault();
    const error = kind === "error" ? event.error : event.reason;
    if (fail) fail(error);
    else console.error(error);
  });
}

let loaded = false;
for await (const line of lines()) {
  const call = JSON.parse(line);
  const failure = new Promise((_resolve, reject) => fail = reject);
  let said;
  try {
    if (loaded) {
      surround(call.environment);
      enter(call.run);
      said = await Promise.race([execute(call), failure]);
    } else {
      said = await Promise.race([load(call), failure]);
    }
  } catch (error) {
    said = { error: describe(error) };
  }
  fail = null;
  const published = enter(null);
  if (published.length) said.messages = published;
  loaded = true;
  await answer(said);
}
exit(0);
