// pg-boss: batches of a hundred, fetched again at once while they come back full; NOTIFY for single jobs.

import { PgBoss } from "pg-boss";
import { main, payload } from "./peer.mjs";

const QUEUE = "bench";
// Jobs in one call of insert.
const BATCH = 10_000;

async function start(url) {
  const boss = new PgBoss({ connectionString: url, useListenNotify: true });
  boss.on("error", (error) => console.error(error));
  await boss.start();
  return boss;
}

await main({
  async prepare(url) {
    const boss = await start(url);
    await boss.createQueue(QUEUE, { notify: true });
    await boss.stop();
  },

  async connect(url) {
    const boss = await start(url);
    return {
      async sendMany(count) {
        for (let left = count; left > 0; left -= BATCH) {
          await boss.insert(QUEUE, Array.from({ length: Math.min(left, BATCH) }, () => ({ data: payload })));
        }
      },
      sendOne: () => boss.send(QUEUE, payload),
    };
  },

  async worker(url, started) {
    const boss = await start(url);
    const options = {
      batchSize: 100,
      burstWhenBatchFull: true,
      pollingIntervalSeconds: 0.5,
      localConcurrency: 8,
    };
    return () => boss.work(QUEUE, options, async (jobs) => jobs.forEach(() => started()));
  },

  async allFinal(client) {
    const { rows } = await client.query("select exists (select from pgboss.job where state < 'completed') as left");
    return !rows[0].left;
  },
});
