// What is the same for every peer: the measurements, and the lines that the runner reads (see ../README.md).

import { createInterface } from "node:readline";
import pg from "pg";

// Rounds that are not counted: they open connections and fill caches.
const WARM_UP = 20;
const PAUSE_MS = 2;

// The payload of every job: 100 bytes of JSON.
export const payload = { pad: "x".repeat(100 - '{"pad":""}'.length) };

// The machine's wall clock in µs, the same in every process. Date.now() turns over each millisecond; where it does
// is where the finer clock is set by it.
const origin = (() => {
  const before = Date.now();
  let now;
  do now = Date.now();
  while (now === before);
  return now - performance.now();
})();
const nowUs = () => Math.round((origin + performance.now()) * 1000);

const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

const lines = () => createInterface({ input: process.stdin })[Symbol.asyncIterator]();

const say = (value) => process.stdout.write(`${typeof value === "string" ? value : JSON.stringify(value)}\n`);

async function send(peer, url, count) {
  const sender = await peer.connect(url);
  const began = performance.now();
  await sender.sendMany(count);
  say({ seconds: (performance.now() - began) / 1000 });
}

async function drain(peer, url, goal) {
  const commands = lines();
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  let starts = 0;
  let first;
  let reached;
  const allStarted = new Promise((resolve) => (reached = resolve));
  const started = () => {
    first ??= nowUs();
    starts += 1;
    if (starts === goal) reached();
  };
  const run = await peer.worker(url, started);
  say("ready");
  await commands.next();
  await run();
  await allStarted;
  while (!(await peer.allFinal(client, goal))) await pause(1);
  say({ seconds: (nowUs() - first) / 1e6, starts });
  // The runner reads this process's CPU time, then writes a line.
  await commands.next();
}

async function serve(peer, url) {
  const run = await peer.worker(url, () => say(String(nowUs())));
  await run();
  await new Promise(() => {});
}

// Reads the lines of a `serve`, one for each start.
async function rounds(peer, url, count) {
  const sender = await peer.connect(url);
  const served = lines();
  const startUs = [];
  for (let round = 0; round < WARM_UP + count; round += 1) {
    // The job before has started; this lets it finish.
    await pause(PAUSE_MS);
    const sent = nowUs();
    await sender.sendOne();
    const { value } = await served.next();
    if (round >= WARM_UP) startUs.push(Number(value) - sent);
  }
  say({ start_us: startUs, result_us: [] });
}

export async function main(peer) {
  const [command, url, count] = process.argv.slice(2);
  const commands = { prepare: () => peer.prepare(url), send, drain, serve, rounds };
  if (!(command in commands)) throw new Error("usage: DRIVER prepare|send|drain|serve|rounds URL [COUNT]");
  await commands[command](peer, url, Number(count));
  process.exit(0);
}
