// UTF-8 without TextEncoder, which the engine of a component lacks.

const STEP = 4096;

/** A string's UTF-8. */
export function encode(text) {
  // One byte a character afterwards.
  const raw = unescape(encodeURIComponent(text));
  const bytes = new Uint8Array(raw.length);
  for (let at = 0; at < raw.length; at++) bytes[at] = raw.charCodeAt(at);
  return bytes;
}

/** The string of valid UTF-8. */
export function decode(bytes) {
  let raw = "";
  let ascii = true;
  for (let at = 0; at < bytes.length; at += STEP) {
    const part = bytes.subarray(at, at + STEP);
    ascii &&= part.every((byte) => byte < 0x80);
    raw += String.fromCharCode.apply(null, part);
  }
  return ascii ? raw : decodeURIComponent(escape(raw));
}
