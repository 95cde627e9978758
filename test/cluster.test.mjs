// Three nodes and a real Redis: a chat message reaches every client on every node once, in order and unchanged.
import assert from "node:assert/strict";
import { before, test } from "node:test";
import { connect, connectAll, hear, heard, plain } from "./harness/client.mjs";
import { Node } from "./harness/node.mjs";
import { until } from "./harness/program.mjs";
import { Redis } from "./harness/redis.mjs";

const event = "chat message";
let nodes, clients;

before(async () => {
  const redis = await Redis.start();
  nodes = await Promise.all(["n1", "n2", "n3"].map((id) => Node.serve(id, { redis })));
  clients = await connectAll(nodes);
});

test("a session id carries its node's tag, the public id does not", () => {
  for (const client of clients) {
    const node = nodes.find(({ url }) => client.label.endsWith(url));
    assert.match(client.io.engine.id, new RegExp(`^${node.id}_[A-Za-z0-9_-]{20}$`), client.label);
    assert.match(client.id, /^[A-Za-z0-9_-]{20}$/, client.label);
  }
  assert.equal(new Set(clients.map(({ id }) => id)).size, clients.length, "ids are unique");
});

test("every client hears every message of every client once, in the sender's order", async () => {
  const each = 40;
  for (const client of clients) client.heard = [];
  for (let i = 0; i < each; i++) {
    clients.forEach((client, sender) => client.emit(event, `${sender}:${i}`));
    if (i % 10 === 9) await new Promise(setImmediate); // bursts of ten
  }
  await hear(clients, event, each * clients.length);
  clients.forEach((client, sender) => client.emit(event, `${sender}:end`));
  await hear(clients, event, (each + 1) * clients.length);
  const expected = [...Array(each).keys(), "end"].map(String);
  for (const client of clients) {
    const bySender = clients.map(() => []);
    for (const [text] of heard(client, event)) {
      const [sender, number] = text.split(":");
      bySender[sender].push(number);
    }
    bySender.forEach((numbers, sender) => assert.deepEqual(numbers, expected, `${client.label} from sender ${sender}`));
  }
});

const nested = { a: [1, -2, 3.5, 1e21, { b: null, c: [true, false, [], {}] }], "ключ": { "": "empty key" } };
const bytes = (length) => Buffer.from(Array.from({ length }, (_, i) => (i * 31) % 256));
const payloads = {
  "a string": ["hello"],
  "an empty string": [""],
  "numbers, booleans, null": [0, -1, 2 ** 53 - 1, 0.1, true, false, null],
  "large and small numbers": [1e300, -2.5e-9, 2 ** 63, -(2 ** 62)],
  "nested JSON": [nested],
  "several arguments": ["text", { name: "Ada" }, [1, 2], "offset-like"],
  "no argument": [],
  "unicode": ["é € 😀 \u0000 \u001e \u2028 \" \\ / 漢字 👩‍👩‍👧"],
  "100 kB of text": ["é".repeat(50_000)],
  "a deep array": [JSON.parse("[".repeat(100) + "]".repeat(100))],
  "binary": [bytes(1000)],
  "empty binary": [Buffer.alloc(0)],
  "100 kB of binary": [bytes(100_000)],
  "binary among JSON": ["file", { name: "a.bin", parts: [bytes(3), { inner: bytes(70_000) }] }, bytes(2)],
  "ten attachments": [Array.from({ length: 10 }, (_, i) => bytes(i))],
  "a typed array": [new Uint8Array([1, 2, 3])],
  "what looks like a placeholder": [{ placeholder: true, num: 0 }, "451-[\"x\"]"],
};

for (const [what, args] of Object.entries(payloads)) {
  test(`unchanged on every node, from every transport: ${what}`, async () => {
    for (const client of clients) client.heard = [];
    const expected = plain(args);
    for (const sender of clients.slice(0, 3)) sender.emit(event, ...args);
    await hear(clients, event, 3);
    for (const client of clients) {
      for (const got of heard(client, event)) assert.deepEqual(plain(got), expected, client.label);
    }
  });
}

test("binary and text of one sender keep their order", async () => {
  for (const client of clients) client.heard = [];
  const sender = clients[4];
  for (let i = 0; i < 30; i++) sender.emit(event, i, i % 2 ? bytes(i) : "text");
  await hear(clients, event, 30);
  for (const client of clients) {
    assert.deepEqual(heard(client, event).map(([i]) => i), [...Array(30).keys()], client.label);
  }
});

test("a message is acknowledged once it is relayed", async () => {
  for (const client of clients) client.heard = [];
  for (const client of clients) await client.timeout(5000).emitWithAck(event, "with ack");
  await hear(clients, event, clients.length);
});

test("an event that is not relayed reaches nobody", async () => {
  for (const client of clients) client.heard = [];
  clients[0].emit("something else", 1);
  clients[0].emit(event, "fence");
  await hear(clients, event, 1);
  for (const client of clients) assert.deepEqual(client.heard, [[event, "fence"]], client.label);
});

test("the nodes log who comes, says something and goes", async () => {
  const client = await connect(nodes[0].url, "upgrade");
  const { id } = client;
  client.emit(event, "secret words");
  await hear([client], event, 1);
  client.disconnect();
  const of = (msg) => nodes[0].log.find((record) => record.msg === msg && record.socket === id);
  await until("the log tells of the disconnection", () => of("user disconnected"));
  assert.ok(of("user connected"));
  assert.ok(of("chat message"));
  assert.equal(of("user disconnected").reason, "client namespace disconnect");
  assert.ok(!nodes[0].program.output.includes("secret words"), "the text is logged at debug only");
});

test("a foreign namespace is refused by name", async () => {
  const client = await connect(nodes[1].url);
  const foreign = client.io.socket("/nowhere");
  const error = await new Promise((resolve) => foreign.once("connect_error", resolve));
  assert.equal(error.message, "Invalid namespace");
  assert.ok(client.connected, "the main namespace lives on");
});

test("the metrics count what happened", async () => {
  for (const node of nodes) {
    assert.equal(await node.metric("chorus_redis_up"), 2, `${node.id} has Redis in both directions`);
    assert.ok(await node.metric("chorus_broadcasts_total", { origin: "local" }) > 0);
    assert.ok(await node.metric("chorus_broadcasts_total", { origin: "remote" }) > 0);
    assert.ok(await node.metric("chorus_deliveries_total", { transport: "websocket" }) > 0);
    assert.ok(await node.metric("chorus_deliveries_total", { transport: "polling" }) > 0);
    assert.ok(await node.metric("chorus_transport_upgrades_total", { result: "ok" }) >= 1);
    assert.equal(await node.metric("chorus_messages_dropped_total") ?? 0, 0);
  }
  await until("only the clients that are left are counted", async () => {
    const counts = await Promise.all(nodes.map((node) => node.metric("chorus_connections")));
    return counts[0] === 3 && counts[2] === 3;
  });
});
