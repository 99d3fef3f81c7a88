// Checks arguments against the part of JSON Schema that says what shape they have. Senders check all of it; a sender
// through SQL checks nothing, and a task ought to be able to rely on its arguments.

const KINDS = {
  null: (value) => value === null,
  boolean: (value) => typeof value === "boolean",
  number: (value) => typeof value === "number",
  integer: (value) => Number.isInteger(value),
  string: (value) => typeof value === "string",
  array: Array.isArray,
  object: (value) => typeof value === "object" && value !== null && !Array.isArray(value),
};

/**
 * The first thing about `value` that does not fit: `{ path, message }`, or null. It looks at `type`, `enum`, `const`,
 * `required`, `properties`, `additionalProperties` and `items`.
 */
export function misfit(schema, value, path = "") {
  if (schema === true || schema === undefined) return null;
  if (schema === false) return { path, message: "nothing is allowed here" };
  const types = [].concat(schema.type ?? []);
  if (types.length && !types.some((type) => KINDS[type]?.(value))) {
    return { path, message: `it is ${kind(value)} and not ${types.join(" or ")}` };
  }
  const allowed = schema.enum ?? ("const" in schema ? [schema.const] : null);
  if (allowed && !allowed.some((one) => same(one, value))) {
    return { path, message: `it is none of ${JSON.stringify(allowed)}` };
  }
  if (KINDS.array(value)) return schema.items === undefined ? null : each(schema.items, value, path);
  return KINDS.object(value) ? fields(schema, value, path) : null;
}

function each(items, value, path) {
  for (const [at, item] of value.entries()) {
    const wrong = misfit(items, item, `${path}/${at}`);
    if (wrong) return wrong;
  }
  return null;
}

function fields({ required = [], properties = {}, additionalProperties }, value, path) {
  const missing = required.find((name) => !Object.hasOwn(value, name));
  if (missing !== undefined) return { path, message: `${JSON.stringify(missing)} is missing` };
  for (const [name, field] of Object.entries(value)) {
    const known = Object.hasOwn(properties, name);
    const wrong = misfit(known ? properties[name] : additionalProperties, field, `${path}/${name}`);
    if (wrong) return wrong;
  }
  return null;
}

const kind = (value) => Object.keys(KINDS).find((name) => KINDS[name](value)) ?? typeof value;
const same = (a, b) => a === b || JSON.stringify(a) === JSON.stringify(b);
