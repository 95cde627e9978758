// One Node server and two nodes of ours in one Redis are one cluster, with each of the adapters: what is asked of one is done by
// all, whoever is asked.
import assert from "node:assert/strict";
import { before, describe, test } from "node:test";
import { Emitter } from "@socket.io/redis-emitter";
import { createClient } from "redis";
import { hear, heard, plain } from "./harness/client.mjs";
import { askAll, binary, cast, features, fence } from "./harness/mixed.mjs";
import { until } from "./harness/program.mjs";
import { Redis } from "./harness/redis.mjs";

const adapters = {
  "classic": ["--adapter", "classic"],
  "classic, answers on specific channels": ["--adapter", "classic", "--specific"],
  "sharded": ["--adapter", "sharded"],
  "sharded, static": ["--adapter", "sharded", "--mode", "static"],
  "sharded, dynamic-private": ["--adapter", "sharded", "--mode", "dynamic-private"],
  "streams": ["--adapter", "streams"],
  "three streams": ["--adapter", "streams", "--streams", "3"],
};

for (const [adapter, args] of Object.entries(adapters)) {
  describe(adapter, { concurrency: 1 }, () => {
    let world;
    before(async () => { world = await cast(await Redis.start(), args); });
    for (const [from, i] of [["Node", 0], ["Chorus", 3]]) {
      describe(`from ${from}`, { concurrency: 1 }, () => {
        for (const [feature, check] of Object.entries(features)) {
          test(feature, async () => {
            await fence(world);
            await check(world, world.all[i]);
          });
        }
      });
    }

    if (adapter === "classic") {
      test("an emitter without clients", async () => {
        const client = await createClient({ url: world.redis.url }).on("error", () => {}).connect();
        const emitter = new Emitter(client);
        const { all } = world;
        await fence(world);
        emitter.emit("news", "é", binary);
        emitter.to("red").except("blue").emit("private", 1);
        emitter.serverSideEmit("told", "by nobody");
        await hear(all, "news", 1);
        await hear([all[3]], "private", 1);
        await hear(all, "told", 1);
        for (const each of all) {
          assert.deepEqual(plain(heard(each, "news")), [plain(["é", binary])], each.label);
          assert.equal(heard(each, "private").length, each === all[3] ? 1 : 0, each.label);
          assert.equal(heard(each, "told").length, 1, each.label);
        }
        emitter.in("blue").socketsJoin("emitted");
        const joined = async () => (await askAll(all[3], "sockets", { to: ["emitted"] }))[1];
        await until("the blue have joined", async () => (await joined()).length === 4);
        emitter.in("emitted").socketsLeave("emitted");
        await until("they have left", async () => (await joined()).length === 0);
        client.destroy();
      });
    }
  });
}
