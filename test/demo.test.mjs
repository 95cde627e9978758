// The demo: one process, three nodes, a front that knows where each session lives.
import assert from "node:assert/strict";
import { test } from "node:test";
import { connectAll, hear, heard } from "./harness/client.mjs";
import { Demo } from "./harness/demo.mjs";
import { programPath } from "./harness/node.mjs";
import { Program } from "./harness/program.mjs";
import { Redis } from "./harness/redis.mjs";

const event = "chat message";

for (const [what, args] of Object.entries({
  "an embedded Redis": async () => [],
  "a real Redis": async () => ["--redis.url", (await Redis.start()).url],
})) {
  test(`the demo on ${what}: clients are spread, hear each other, and ctrl-c ends it`, async () => {
    const demo = await Demo.start(await args());
    for (let i = 0; i < 4; i++) {
      const page = await fetch(demo.url); // is not counted in the round of the nodes
      assert.match(await page.text(), /id="messages"/);
    }
    const clients = await connectAll([demo, demo, demo]);
    const tags = clients.map((client) => client.io.engine.id.split("_")[0]).sort();
    assert.deepEqual(tags, ["n1", "n1", "n1", "n2", "n2", "n2", "n3", "n3", "n3"]);

    for (let i = 0; i < 20; i++) clients.forEach((client, sender) => client.emit(event, sender, i));
    await hear(clients, event, 20 * clients.length);
    for (const client of clients) {
      const bySender = clients.map(() => []);
      for (const [sender, i] of heard(client, event)) bySender[sender].push(i);
      for (const numbers of bySender) assert.deepEqual(numbers, [...Array(20).keys()], client.label);
    }

    for (const client of clients) client.io.reconnection(false);
    const start = Date.now();
    assert.deepEqual(await demo.stop("SIGINT"), { code: 0, signal: null });
    assert.ok(Date.now() - start < 2000, `it took ${Date.now() - start} ms`);
  });
}

test("a taken port is an error that names the flag", async () => {
  const demo = await Demo.start();
  const { host } = new URL(demo.url);
  for (const [flag, args] of Object.entries({
    "--addr": ["demo", "--addr", host],
    "--internal-addr": ["serve", "--addr", "127.0.0.1:0", "--internal-addr", host],
  })) {
    const second = new Program(`second ${args[0]}`, programPath(), args);
    assert.deepEqual(await second.exit, { code: 1, signal: null });
    assert.match(second.output, new RegExp(`${flag}.*${host}`));
  }
});
