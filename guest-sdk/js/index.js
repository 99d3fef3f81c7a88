// What the author of a hostler plugin uses.
//
//     import { task, Failure } from "hostler-guest";
//
//     export const wordCount = task(
//       { description: "Counts words.", args: { type: "object", properties: { text: { type: "string" } } } },
//       ({ text }) => ({ words: text.split(/\s+/).filter(Boolean).length }),
//     );
//
// Every exported task is served under its name in snake_case: `wordCount` is `PLUGIN.word_count`. Natively it is the
// function that was given, so a unit test calls it; `hostler-guest/testing` has the rest of the world for it.
//
// What an operator has to grant is in modules of its own: `hostler-guest/tasks` sends tasks, `hostler-guest/keyvalue` keeps
// values. Import them where they are used: what is imported is what the component asks for.

export { Failure } from "./failure.js";
export { attempt, cancellation, checkpoint, log, progress } from "./host.js";
export { exponential, fixed, task } from "./task.js";
