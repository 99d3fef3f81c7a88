import { Failure } from "./failure.js";
import { misfit } from "./schema.js";
import { DEFINITION, tasksOf } from "./task.js";

const CONTRACT = "hostler:plugin@0.1.0";

/** What the host reads of a plugin, as a value. */
export function describe({ name, version }, tasks) {
  const all = Array.from(tasks, ([name, run]) => {
    const { description, args, result, policy } = run[DEFINITION];
    return { name, description, args_schema: args, result_schema: result, policy };
  });
  return { contract: CONTRACT, name, version, tasks: all };
}

/** Runs the task with this short name, from JSON to JSON. Throws a Failure. */
export function run({ name }, tasks, task, text, blame = () => {}) {
  const found = tasks.get(task);
  if (!found) {
    const known = Array.from(tasks.keys()).join(", ");
    throw new Failure(
      "WORKER_RESOLUTION_ERROR",
      `the plugin \`${name}\` has no task \`${task}\`; it has: ${known}`,
    ).never();
  }
  const args = JSON.parse(text);
  const wrong = misfit(found[DEFINITION].args, args);
  if (wrong) {
    throw new Failure("ARGUMENT_TYPE_MISMATCH", wrong.path ? `at ${wrong.path}: ${wrong.message}` : wrong.message)
      .never()
      .withData({ path: wrong.path || "." });
  }
  try {
    return json(found(args));
  } catch (error) {
    if (!(error instanceof Failure)) blame(error);
    throw Failure.of(error);
  }
}

function json(value) {
  if (typeof value?.then === "function") {
    throw new Failure("RESULT_NOT_JSON", "the task returned a promise; a task is a plain function").never();
  }
  try {
    const text = JSON.stringify(value ?? null);
    if (text !== undefined) return text;
  } catch (error) {
    throw new Failure("RESULT_NOT_JSON", `the task's result is no JSON: ${error.message}`).never();
  }
  throw new Failure("RESULT_NOT_JSON", `the task's result is no JSON but a ${typeof value}`).never();
}

export { tasksOf };
