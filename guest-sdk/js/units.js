// Amounts with units: "1h30m", "64 MiB".

const TIMES = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 };
const SIZES = { B: 1, KiB: 2 ** 10, MiB: 2 ** 20, GiB: 2 ** 30 };

/** A duration in milliseconds: whole numbers with units, from large to small and each once. */
export function milliseconds(text, what) {
  let [sum, smallest, rest] = [0, Infinity, String(text).trim()];
  while (rest) {
    const [all, number, unit] = /^(\d+)(ms|[smhd])\s*/.exec(rest) ?? [];
    if (!all || TIMES[unit] >= smallest) break;
    smallest = TIMES[unit];
    sum += Number(number) * smallest;
    rest = rest.slice(all.length);
  }
  if (rest || smallest === Infinity || !Number.isSafeInteger(sum)) {
    throw new TypeError(`${what}: ${JSON.stringify(text)} is no duration such as "500ms" or "1h30m"`);
  }
  return sum;
}

/** A size in bytes. */
export function bytes(text, what) {
  const [, number, unit] = /^(\d+) *([KMG]iB|B)$/.exec(String(text).trim()) ?? [];
  const size = Number(number) * SIZES[unit];
  if (!Number.isSafeInteger(size)) {
    throw new TypeError(`${what}: ${JSON.stringify(text)} is no size such as "64 MiB"`);
  }
  return size;
}
