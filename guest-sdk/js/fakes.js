// The powers that an operator grants, in memory: for `testing.js`.

import { decode, encode } from "./text.js";

/** Notes in `sent` what is sent. A key is sent once, as by the host. */
export function sends(sent) {
  return {
    send(task, args, key, delayMs) {
      const child = { task, args: JSON.parse(decode(args)), key: key ?? undefined, delayMs: delayMs ?? undefined };
      const before = key === null ? undefined : sent.find((one) => one.key === key);
      if (before) {
        if (before.task === task && JSON.stringify(before.args) === JSON.stringify(child.args)) return before.id;
        throw new Error(`KEY_CONFLICT: this task sent another command as '${key}' before, task ${before.id}`);
      }
      const id = `00000000-0000-7000-8000-${String(sent.length + 1).padStart(12, "0")}`;
      sent.push({ id, ...child });
      return id;
    },
  };
}

/** Buckets that hold `{ bucket: { key: value } }`: the host's side, and all that they hold in the end. */
export function buckets(before = {}) {
  const bytes = (value) => (typeof value === "string" ? encode(value) : Uint8Array.from(value));
  const filled = (values) => new Map(Object.entries(values).map(([key, value]) => [key, bytes(value)]));
  const held = new Map(Object.entries(before).map(([name, values]) => [name, filled(values)]));
  const host = {
    open(name) {
      if (!held.has(name)) held.set(name, new Map());
      const values = held.get(name);
      return {
        get: (key) => values.get(key) ?? null,
        set: (key, value) => void values.set(key, Uint8Array.from(value)),
        delete: (key) => void values.delete(key),
        exists: (key) => values.has(key),
        listKeys: () => ({ keys: [...values.keys()], cursor: null }),
      };
    },
    increment(bucket, key, delta) {
      const before = shown(bucket.get(key) ?? encode("0"));
      if (!/^\d{1,20}$/.test(before)) throw { tag: "other", val: "the value is no decimal number" };
      bucket.set(key, encode(String(BigInt(before) + BigInt(delta))));
      return Number(shown(bucket.get(key)));
    },
  };
  const values = (of) => Object.fromEntries(Array.from(of, ([key, value]) => [key, shown(value)]));
  return { host, all: () => Object.fromEntries(Array.from(held, ([name, of]) => [name, values(of)])) };
}

/** As text, if it is. */
function shown(value) {
  try {
    return decode(value);
  } catch {
    return value;
  }
}
