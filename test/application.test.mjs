// The library seen by official clients, on three nodes of one cluster: rooms, acknowledgements, namespaces, ends.
import assert from "node:assert/strict";
import { before, beforeEach, test } from "node:test";
import { connect, connectAll, hear, heard, plain, ways } from "./harness/client.mjs";
import { Node } from "./harness/node.mjs";
import { until } from "./harness/program.mjs";
import { Redis } from "./harness/redis.mjs";

let nodes, clients;
const labels = (list) => list.map(({ label }) => label);
const sorted = (list) => [...list].sort();
const ack = (client, ...event) => client.timeout(5000).emitWithAck(...event);

before(async () => {
  const redis = await Redis.start();
  nodes = await Promise.all(["n1", "n2", "n3"].map((id) => Node.application(id, { redis })));
  clients = await connectAll(nodes);
});

beforeEach(() => { for (const client of clients) client.heard = []; });

/** Lets a client broadcast, and returns who heard it, each once. A second broadcast of the client, to all, tells that all is there. */
async function hearers(sender, target, listeners = clients) {
  for (const client of listeners) client.heard = [];
  sender.emit("emit", target, "news", "words");
  sender.emit("emit", {}, "fence");
  await hear(listeners, "fence", 1);
  for (const client of listeners) {
    const news = heard(client, "news");
    assert.ok(news.length <= 1, `${client.label} heard it ${news.length} times`);
    if (news.length) assert.deepEqual(news, [["words"]]);
  }
  return listeners.filter((client) => heard(client, "news").length === 1);
}

test("rooms across nodes", async (t) => {
  const red = clients.filter((_, i) => i % 2 === 0);
  const blue = clients.filter((_, i) => i % 3 === 0);
  for (const client of red) assert.deepEqual(sorted(await ack(client, "join", ["red"])), sorted([client.id, "red"]));
  for (const client of blue) assert.ok((await ack(client, "join", ["blue", "blue"])).includes("blue"));
  const [sender, other] = [clients[0], clients[4]];
  const not = (...lists) => clients.filter((client) => !lists.some((list) => list.includes(client)));
  const cases = {
    "everyone": [{}, clients],
    "everyone but the sender": [{ sender: true }, not([sender])],
    "one room": [{ to: ["red"] }, red],
    "one room but the sender": [{ to: ["red"], sender: true }, red.filter((client) => client !== sender)],
    "two rooms, each member once": [{ to: ["red", "blue"] }, clients.filter((client) => red.includes(client) || blue.includes(client))],
    "an empty room": [{ to: ["nobody"] }, []],
    "a client's id is its room": [{ to: [other.id] }, [other]],
    "all except a room": [{ except: ["red"] }, not(red)],
    "all except two rooms": [{ except: ["red", "blue"] }, not(red, blue)],
    "a room except a room": [{ to: ["red"], except: ["blue"] }, red.filter((client) => !blue.includes(client))],
    "all except one client": [{ except: [other.id] }, not([other])],
    "this node only": [{ local: true }, clients.slice(0, 3)],
    "a room on this node only": [{ to: ["red"], local: true }, red.filter((client) => clients.indexOf(client) < 3)],
  };
  for (const [name, [target, expected]] of Object.entries(cases)) {
    await t.test(name, async () => assert.deepEqual(labels(await hearers(sender, target)), labels(expected)));
  }
  await t.test("a room left", async () => {
    for (const client of red.slice(1)) assert.deepEqual(sorted(await ack(client, "leave", ["red"])).includes("red"), false);
    assert.deepEqual(labels(await hearers(other, { to: ["red"] })), labels(red.slice(0, 1)));
  });
  await t.test("rooms of a namespace are its own", async () => {
    const others = await connectAll(nodes.map(({ url }) => ({ url: `${url}/other` })));
    assert.deepEqual(labels(await hearers(others[0], { to: ["blue"] }, others)), []);
    assert.deepEqual(labels(await hearers(others[0], {}, others)), labels(others));
    assert.deepEqual(clients.flatMap((client) => heard(client, "news")), [], "nothing of it in the main namespace");
    for (const client of others) client.disconnect();
  });
});

test("any value survives broadcasts, single emits and acknowledgements", async () => {
  const args = ["text", 1.5, null, { deep: [{ er: "é😀" }], data: Buffer.from([0, 1, 255]) }, [], Buffer.alloc(70_000, 7)];
  for (const client of clients) {
    assert.deepEqual(plain(await ack(client, "echo", args[3])), plain(args[3]), client.label);
    client.emit("again", "echoed", ...args);
  }
  await hear(clients, "echoed", 1);
  for (const client of clients) assert.deepEqual(plain(heard(client, "echoed")), [plain(args)], client.label);
  clients[3].emit("emit", {}, "everything", ...args);
  await hear(clients, "everything", 1);
  for (const client of clients) assert.deepEqual(plain(heard(client, "everything")), [plain(args)], client.label);
});

test("an acknowledgement may carry any number of values", async () => {
  for (const client of clients.slice(0, 3)) {
    const values = await new Promise((resolve) => client.emit("echo", 1, "two", Buffer.from("3"), (...got) => resolve(got)));
    assert.deepEqual(plain(values), [1, "two", Buffer.from("3")]);
    assert.deepEqual(await new Promise((resolve) => client.emit("echo", (...got) => resolve(got))), []);
  }
});

test("the server asks a client and gets its answer", async () => {
  await Promise.all(clients.slice(0, 3).map(async (client) => {
    client.on("question", (n, data, answer) => answer({ n: n + 1, data }));
    assert.deepEqual(plain(await ack(client, "ask", 41, Buffer.from("x"))), { n: 42, data: Buffer.from("x") }, client.label);
    client.off("question");
    client.on("question", () => {}); // hears, does not answer
    assert.equal(await ack(client, "ask", 1, Buffer.from("x")), "no answer", client.label);
    client.off("question");
  }));
});

test("a handler's error sends no acknowledgement and ends nothing", async () => {
  const client = clients[1];
  await assert.rejects(client.timeout(300).emitWithAck("fail"), /timed out/);
  assert.equal(await ack(client, "echo", "still here"), "still here");
});

test("a panic in a handler ends that socket only", async () => {
  const victim = await connect(nodes[0].url, "websocket", { reconnection: false });
  const gone = new Promise((resolve) => victim.once("disconnect", resolve));
  victim.emit("panic");
  await gone;
  await until("the log tells it", () => nodes[0].program.output.includes("asked for"));
  for (const client of clients) assert.equal(await ack(client, "echo", 1), 1, client.label);
});

test("what is volatile reaches clients that are ready", async () => {
  const ready = clients.filter(({ label }) => !label.startsWith("polling"));
  for (const client of ready) client.heard = [];
  await until("all have heard one", () => {
    clients[1].emit("emit", { volatile: true }, "volatile", 1);
    return ready.every((client) => heard(client, "volatile").length > 0);
  });
  for (const client of ready) assert.deepEqual(heard(client, "volatile")[0], [1]);
});

test("who leaves, why, and from which rooms", async () => {
  const cases = {
    "client namespace disconnect": (client) => client.disconnect(),
    "server namespace disconnect": (client) => client.emit("kick", false),
    "transport close": (client) => client.io.engine.close(),
  };
  for (const way of Object.keys(ways)) {
    for (const [reason, leave] of Object.entries(cases)) {
      const client = await connect(nodes[1].url, way, { reconnection: false });
      const { id } = client;
      await ack(client, "join", ["hall"]);
      for (const listener of clients) listener.heard = [];
      leave(client);
      await hear(clients, "left", 1);
      for (const listener of clients) {
        const [[who, why, rooms]] = heard(listener, "leaving");
        assert.deepEqual([who, why, sorted(rooms)], [id, reason, sorted(["hall", id])], `${way}, seen by ${listener.label}`);
        assert.deepEqual(heard(listener, "left"), [[id, reason, 0]], `${way}, seen by ${listener.label}`);
      }
    }
  }
});

test("the server's disconnect is final for the client, in one namespace or all", async () => {
  const client = await connect(nodes[2].url);
  const other = client.io.socket("/other");
  await until("the second namespace is joined", () => other.connected);
  const ends = [];
  client.on("disconnect", (reason) => ends.push(["/", reason]));
  other.on("disconnect", (reason) => ends.push(["/other", reason]));
  other.emit("kick", false);
  await until("one has ended", () => ends.length === 1);
  assert.equal(await ack(client, "echo", "here"), "here");
  other.connect();
  await until("it is joined again", () => other.connected);
  client.emit("kick", true);
  await until("both have ended", () => ends.length === 3);
  assert.deepEqual(ends[0], ["/other", "io server disconnect"]);
  assert.deepEqual(sorted(ends.slice(1).map(([namespace]) => namespace)), ["/", "/other"]);
  assert.ok(!client.connected && !other.connected);
});

test("a middleware refuses with data, or admits", async () => {
  for (const way of Object.keys(ways)) {
    const main = await connect(nodes[0].url, way, { query: { q: "from the query" } });
    const refused = main.io.socket("/guarded", { auth: { word: "open" } });
    const error = await new Promise((resolve) => refused.once("connect_error", resolve));
    assert.equal(error.message, "not allowed");
    assert.deepEqual(error.data, { code: 401, word: "open" });
    assert.ok(main.connected, "the connection itself lives on");
    refused.auth = (give) => give({ word: "sesame", name: "Ada" });
    const welcome = new Promise((resolve) => refused.once("welcome", (...args) => resolve(args)));
    refused.connect();
    assert.deepEqual(await welcome, ["Ada", "from the query"]);
    main.disconnect();
    refused.disconnect();
  }
});

test("what is emitted before the connection arrives after it, in order", async () => {
  const client = (await connect(nodes[0].url)).io.socket("/other");
  const answers = [];
  client.on("connect", () => client.emit("echo", 10, (value) => answers.push(value)));
  for (let i = 0; i < 10; i++) client.emit("echo", i, (value) => answers.push(value));
  assert.ok(!client.connected);
  await until("the last answer", () => answers.at(-1) === 10);
  assert.deepEqual(answers, [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10]);
});
