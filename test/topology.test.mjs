// One Node server and two nodes of ours are one cluster on a Redis Cluster too, which grows under them, and behind Sentinels, whose
// master dies.
import assert from "node:assert/strict";
import { before, describe, test } from "node:test";
import { hear, heard } from "./harness/client.mjs";
import { askAll, cast, features, fence, ids } from "./harness/mixed.mjs";
import { until } from "./harness/program.mjs";
import { RedisCluster, Sentinels } from "./harness/redis.mjs";

const senders = { Node: 0, Chorus: 3 };

/** Waits until what one server says is heard at every other, whoever says it. */
const connected = ({ all }, event) => until(`"${event}" is heard from everyone by everyone`, () => {
  for (const i of [0, 3, 6]) all[i].emit("emit", {}, event, i);
  return all.every((client) => [0, 3, 6].every((i) => heard(client, event).some(([from]) => from === i)));
});

/** Runs features from each kind of server. */
function fromEach(world, chosen) {
  for (const [from, i] of Object.entries(senders)) {
    for (const feature of chosen) {
      test(`${feature}, from ${from}`, async () => {
        await fence(world());
        await features[feature](world(), world().all[i]);
      });
    }
  }
}

// What differs with Redis: every channel, and who is counted. The rest is as with one Redis.
const representative = [
  "broadcast: plain", "broadcast: a large text", "broadcast: binary to a room", "broadcast: a room except another", "broadcast: to one client of each server",
  "order", "acknowledgements", "sockets are listed", "sockets join and leave", "servers are told", "servers answer", "sockets are disconnected", "namespaces are apart",
];

const adapters = { classic: ["--adapter", "classic"] };

for (const [adapter, args] of Object.entries(adapters)) {
  describe(`a cluster of three masters, ${adapter}`, { concurrency: 1 }, () => {
    let world;
    before(async () => { world = await cast(await RedisCluster.start(), ["--cluster", ...args]); });
    fromEach(() => world, representative);

    test("servers of ours are known by name, and everyone is counted", async () => {
      const [, names] = await askAll(world.all[3], "nodes");
      assert.deepEqual(names, ["n1", "n2", ""]);
      assert.deepEqual(await askAll(world.all[6], "count", {}), [null, 9]);
    });

    test("a master is added and gets a third of the slots", async () => {
      await fence(world);
      const { redis, ends } = world;
      ends.length = 0;
      const added = await redis.grow();
      await redis.move([...Array(16384).keys()].filter((slot) => slot % 3 === 0), added);
      await connected(world, "grown");
      assert.deepEqual(ends, []);
    });
    describe("with four masters", { concurrency: 1 }, () => fromEach(() => world, ["broadcast: a room except another", "order", "acknowledgements", "servers answer"]));
  });
}

describe("Sentinels, classic", { concurrency: 1 }, () => {
  let world;
  const chosen = ["broadcast: plain", "broadcast: a room except another", "order", "acknowledgements", "sockets are listed", "servers answer"];
  before(async () => { world = await cast(await Sentinels.start(), ["--adapter", "classic"]); });
  describe("before", { concurrency: 1 }, () => fromEach(() => world, chosen));

  test("the master dies", async () => {
    await fence(world);
    const { all, redis } = world;
    await redis.fail();
    await connected(world, "again");
    await until("everyone answers", async () => {
      const lists = await Promise.all([all[0], all[3], all[6]].map((client) => askAll(client, "sockets", {})));
      return lists.every(([error, sockets]) => !error && String(ids(sockets)) === String(ids(all)));
    });
  });
  describe("after", { concurrency: 1 }, () => fromEach(() => world, chosen));
  test("no client was disconnected", () => assert.deepEqual(world.ends, []));
});
