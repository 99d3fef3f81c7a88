// graphile-worker. TUNED=1: with the settings of its performance page, otherwise without batching.

import { Logger, makeWorkerUtils, run, WorkerPreset } from "graphile-worker";
import { main, payload } from "./peer.mjs";

// Jobs in one call of addJobs.
const BATCH = 10_000;

// It tells of every job on stdout, which is the runner's.
const logger = new Logger(() => (level, message) => {
  if (level === "error" || level === "warning") console.error(message);
});

const tuned = {
  concurrentJobs: 24,
  maxPoolSize: 25,
  localQueue: { size: 500 },
  completeJobBatchDelay: 0,
  failJobBatchDelay: 0,
};

// One job at a time is the default; ten is what the default pool has connections for.
const plain = { concurrentJobs: 10 };

const preset = (url) => ({
  extends: [WorkerPreset],
  worker: { connectionString: url, crontabFile: "/dev/null", logger, ...(process.env.TUNED ? tuned : plain) },
});

await main({
  async prepare(url) {
    const utils = await makeWorkerUtils({ preset: preset(url) });
    await utils.migrate();
    await utils.release();
  },

  async connect(url) {
    const utils = await makeWorkerUtils({ preset: preset(url) });
    return {
      async sendMany(count) {
        for (let left = count; left > 0; left -= BATCH) {
          await utils.addJobs(Array.from({ length: Math.min(left, BATCH) }, () => ({ identifier: "noop", payload })));
        }
      },
      sendOne: () => utils.addJob("noop", payload),
    };
  },

  async worker(url, started) {
    return () => run({ preset: preset(url), taskList: { noop: async () => started() }, noHandleSignals: true });
  },

  async allFinal(client) {
    const { rows } = await client.query("select exists (select from graphile_worker._private_jobs) as left");
    return !rows[0].left;
  },
});
