import { bytes, milliseconds } from "./units.js";

/** Where a task's function carries what `describe` tells of it. */
export const DEFINITION = Symbol("hostler task");

const count = (value, what) => {
  if (!Number.isInteger(value) || value < 0) throw new TypeError(`${what}: ${value} is no whole number`);
  return value;
};
const as = (type) => (value, what) => {
  if (typeof value !== type) throw new TypeError(`${what}: ${JSON.stringify(value)} is no ${type}`);
  return value;
};

/** Each option, the policy's name for it, and how it is read. */
const POLICY = {
  retries: ["max_retries", count],
  backoff: ["backoff", as("object")],
  jitter: ["jitter", as("boolean")],
  retryOn: ["retry_on", as("object")],
  timeout: ["timeout_ms", milliseconds],
  cpu: ["cpu_ms_max", milliseconds],
  memory: ["memory_bytes_max", bytes],
  resultMax: ["result_bytes_max", bytes],
  redeliveries: ["redeliveries", count],
  keepInput: ["keep_input", as("boolean")],
};

/**
 * Makes a task of a function of one JSON value. The function stays what it is.
 *
 * Options: `description`; `args` and `result`, JSON Schemas (without, anything goes); and the policy, each with the
 * host's default: `retries`, `backoff`, `jitter`, `retryOn`, `timeout`, `cpu`, `memory`, `resultMax`, `redeliveries`,
 * `keepInput`.
 *
 * @template {Function} F
 * @param {object} options
 * @param {F} run
 * @returns {F}
 */
export function task(options, run) {
  if (typeof options === "function") [options, run] = [{}, options];
  if (typeof run !== "function") throw new TypeError("task(options, function): the function is missing");
  const { description = "", args = true, result = true, ...rest } = options;
  const policy = {};
  for (const [option, value] of Object.entries(rest)) {
    const known = POLICY[option];
    if (!known) throw new TypeError(`no option ${option}: there are ${Object.keys(POLICY).join(", ")}`);
    const [name, read] = known;
    policy[name] = read(value, option);
  }
  Object.defineProperty(run, DEFINITION, { value: { description, args, result, policy } });
  return run;
}

/** The waits between attempts; the last one repeats. */
export function fixed(...delays) {
  return { kind: "fixed", delays_ms: delays.map((delay) => milliseconds(delay, "fixed")) };
}

/** A growing wait between attempts. */
export function exponential({ base, factor = 2, max }) {
  return {
    kind: "exponential",
    base_ms: milliseconds(base, "base"),
    factor,
    max_ms: milliseconds(max, "max"),
  };
}

/** The exported tasks of a module, by the names they are served under. */
export function tasksOf(module) {
  const found = new Map();
  for (const [name, value] of Object.entries(module)) {
    if (typeof value !== "function" || !value[DEFINITION]) continue;
    const snake = name.replace(/[A-Z]+/g, (letters, at) => (at ? "_" : "") + letters.toLowerCase());
    if (found.has(snake)) throw new TypeError(`two exports are the task ${snake}`);
    found.set(snake, value);
  }
  if (!found.size) throw new TypeError("the plugin exports no task: export what task(…) returns");
  return found;
}
