// A Node server with @socket.io/redis-adapter and nodes of ours in one Redis hear each other.
import assert from "node:assert/strict";
import { createServer } from "node:http";
import { after, before, test } from "node:test";
import { createAdapter } from "@socket.io/redis-adapter";
import { createClient } from "redis";
import { Server } from "socket.io";
import { connectAll, hear, heard, plain } from "./harness/client.mjs";
import { Node } from "./harness/node.mjs";
import { until } from "./harness/program.mjs";
import { Redis } from "./harness/redis.mjs";

let io, publisher, subscriber, ours, theirs, all;

after(async () => {
  await io?.close();
  publisher?.destroy();
  subscriber?.destroy();
});

before(async () => {
  const redis = await Redis.start();
  publisher = createClient({ url: redis.url });
  subscriber = publisher.duplicate();
  const http = createServer();
  io = new Server(http);
  // Redis ends before its two clients do: how they complain is not of interest.
  for (const client of [publisher, subscriber]) await client.on("error", () => {}).connect();
  io.adapter(createAdapter(publisher, subscriber));
  for (const namespace of [io.of("/"), io.of("/other")]) {
    namespace.on("connection", (socket) => {
      socket.on("join", async (rooms, ack) => { await socket.join(rooms); ack([...socket.rooms]); });
      socket.on("emit", ({ to = [], except = [], volatile, uncompressed, sender }, ...event) => {
        const source = sender ? socket : namespace;
        const target = (volatile ? source.volatile : source).to(to).except(except);
        (uncompressed ? target.compress(false) : target).emit(...event);
      });
    });
  }
  await new Promise((resolve) => http.listen(0, "127.0.0.1", resolve));
  const node = { url: `http://127.0.0.1:${http.address().port}` };
  const nodes = await Promise.all(["n1", "n2"].map((id) => Node.application(id, { redis })));
  [theirs, ours] = await Promise.all([connectAll([node]), connectAll(nodes)]);
  all = [...ours, ...theirs];
  for (const client of [ours[0], ours[4], theirs[1]]) await client.timeout(5000).emitWithAck("join", ["red"]);
  for (const client of [ours[4], ours[5], theirs[1], theirs[2]]) await client.timeout(5000).emitWithAck("join", ["blue"]);
  await until("everyone hears everyone", async () => {
    for (const client of [ours[0], ours[3], theirs[0]]) client.emit("emit", {}, "hello", client.id);
    const ids = [ours[0], ours[3], theirs[0]].map(({ id }) => id);
    return all.every((client) => ids.every((id) => heard(client, "hello").some(([from]) => from === id)));
  });
});

const binary = { name: "file", data: Buffer.from([0, 1, 254, 255]), parts: [Buffer.alloc(50_000, 3), { nested: Buffer.from("x") }] };
const cases = {
  "plain": [{}, ["é", 1, -1.5, { a: [null, true] }], () => all],
  "a large text": [{}, ["x".repeat(100_000)], () => all],
  "no argument": [{}, [], () => all],
  "binary": [{}, [binary, Buffer.from("more")], () => all],
  "all but the sender": [{ sender: true }, [1], (sender) => all.filter((client) => client !== sender)],
  "a room": [{ to: ["red"] }, ["to red"], () => [ours[0], ours[4], theirs[1]]],
  "binary to a room": [{ to: ["red"] }, [binary], () => [ours[0], ours[4], theirs[1]]],
  "two rooms": [{ to: ["red", "blue"] }, [2], () => [ours[0], ours[4], ours[5], theirs[1], theirs[2]]],
  "a room except another": [{ to: ["red"], except: ["blue"] }, [3], () => [ours[0]]],
  "without compression": [{ uncompressed: true }, ["as it is"], () => all],
  "all except a room": [{ except: ["blue"] }, [4], () => all.filter((client) => ![ours[4], ours[5], theirs[1], theirs[2]].includes(client))],
};

for (const [name, [target, args, expected]] of Object.entries(cases)) {
  for (const from of ["Node", "Chorus"]) {
    test(`${name}, from ${from}`, async () => {
      const sender = from === "Node" ? theirs[0] : ours[3];
      for (const client of all) client.heard = [];
      sender.emit("emit", target, "news", ...args);
      sender.emit("emit", {}, "fence");
      await hear(all, "fence", 1);
      const hearers = all.filter((client) => heard(client, "news").length > 0);
      assert.deepEqual(hearers.map(({ label }) => label), expected(sender).map(({ label }) => label));
      for (const client of hearers) assert.deepEqual(plain(heard(client, "news")), [plain(args)], client.label);
    });
  }
}

for (const from of ["Node", "Chorus"]) {
  test(`volatile, from ${from}`, async () => {
    const sender = from === "Node" ? theirs[0] : ours[3];
    const ready = all.filter(({ label }) => !label.startsWith("polling"));
    for (const client of all) client.heard = [];
    await until("all that are ready have heard one", () => {
      sender.emit("emit", { volatile: true }, "volatile", 1);
      return ready.every((client) => heard(client, "volatile").length > 0);
    });
  });

  test(`order, from ${from}`, async () => {
    const sender = from === "Node" ? theirs[0] : ours[3];
    for (const client of all) client.heard = [];
    for (let i = 0; i < 100; i++) sender.emit("emit", {}, "count", i, i % 7 ? "text" : Buffer.from([i]));
    await hear(all, "count", 100);
    for (const client of all) assert.deepEqual(heard(client, "count").map(([i]) => i), [...Array(100).keys()], client.label);
  });
}

test("namespaces are apart", async () => {
  const others = [...ours.slice(0, 3), ...theirs].map((client) => client.io.socket("/other"));
  for (const client of others) {
    client.heard = [];
    client.onAny((...event) => client.heard.push(event));
  }
  await until("the second namespace is joined", () => others.every(({ connected }) => connected));
  for (const client of all) client.heard = [];
  for (const sender of [others[0], others[3]]) {
    for (const client of others) client.heard = [];
    sender.emit("emit", {}, "news", "over there");
    await hear(others, "news", 1);
  }
  for (const sender of [ours[0], theirs[0]]) sender.emit("emit", {}, "fence");
  await hear(all, "fence", 2);
  for (const client of all) assert.deepEqual(heard(client, "news"), [], client.label);
  for (const client of others) client.disconnect();
});
