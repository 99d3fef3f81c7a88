// The plugin `template`: Mustache templates, filled in a sandbox.

import { Failure, log, task } from "hostler-guest";
import Mustache from "mustache";

const TEXT = { type: "string" };

/** Values are escaped for HTML unless the template writes {{{value}}}. */
export const render = task(
  {
    description: "Fills a Mustache template with values.",
    args: {
      type: "object",
      properties: {
        template: { ...TEXT, description: "The template." },
        values: { type: "object", description: "What its names stand for." },
        partials: { type: "object", additionalProperties: TEXT, description: "Templates that it may include." },
        strict: { type: "boolean", description: "Fail for a name without a value." },
      },
      required: ["template", "values"],
      additionalProperties: false,
    },
    result: {
      type: "object",
      properties: { text: TEXT, names: { type: "array", items: TEXT } },
      required: ["text", "names"],
    },
    retries: 0,
    timeout: "10s",
    memory: "64 MiB",
  },
  ({ template, values, partials = {}, strict = false }) => {
    const names = [...new Set(namesIn(parse(template)))];
    const missing = names.filter((name) => new Mustache.Context(values).lookup(name) === undefined);
    if (missing.length) {
      if (strict) {
        throw new Failure("VALUE_MISSING", `no value for ${missing.join(", ")}`).never().withData({ missing });
      }
      log.warn("no value for", missing.join(", "));
    }
    return { text: Mustache.render(template, values, partials), names };
  },
);

function parse(template) {
  try {
    return Mustache.parse(template);
  } catch (error) {
    throw new Failure("TEMPLATE_BROKEN", error.message).never();
  }
}

/** The names at the outermost level; within a section, names may come from its items. */
function namesIn(tokens) {
  const named = new Set(["name", "&", "#", "^"]);
  return tokens.filter(([kind, name]) => named.has(kind) && name !== ".").map(([, name]) => name);
}
