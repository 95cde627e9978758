// A Node server with @socket.io/redis-streams-adapter and nodes of ours in one Redis: they hear each other, and a client
// that lost its connection goes on at any of them.
import assert from "node:assert/strict";
import { createServer } from "node:http";
import { after, before, test } from "node:test";
import { createAdapter } from "@socket.io/redis-streams-adapter";
import { createClient } from "redis";
import { Server } from "socket.io";
import { connect, connectAll, hear, heard, plain } from "./harness/client.mjs";
import { Node } from "./harness/node.mjs";
import { until } from "./harness/program.mjs";
import { Redis } from "./harness/redis.mjs";

const window = 60_000;
let io, redis, control, servers, ours, theirs, all;

after(async () => {
  await io?.close();
  control?.destroy();
});

before(async () => {
  redis = await Redis.start();
  control = createClient({ url: redis.url });
  await control.on("error", () => {}).connect();
  const http = createServer();
  io = new Server(http, { connectionStateRecovery: { maxDisconnectionDuration: window }, adapter: createAdapter(control) });
  io.on("connection", (socket) => {
    socket.on("join", async (rooms, ack) => { await socket.join(rooms); ack([...socket.rooms]); });
    socket.on("keep", (value, ack) => { socket.data.value = value; ack(); });
    socket.on("state", (ack) => ack({ id: socket.id, rooms: [...socket.rooms], value: socket.data.value ?? null, recovered: socket.recovered }));
    socket.on("again", (...event) => socket.emit(...event));
    socket.on("emit", ({ to = [], except = [], volatile, uncompressed, sender }, ...event) => {
      const source = sender ? socket : io;
      const target = (volatile ? source.volatile : source).to(to).except(except);
      (uncompressed ? target.compress(false) : target).emit(...event);
    });
  });
  await new Promise((resolve) => http.listen(0, "127.0.0.1", resolve));
  const node = { url: `http://127.0.0.1:${http.address().port}` };
  const nodes = await Promise.all(["n1", "n2"].map((id) => Node.application(id, { redis, args: ["--adapter", "streams", "--recovery", `${window}ms`] })));
  servers = { "Chorus 1": nodes[0], "Chorus 2": nodes[1], Node: node };
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

/** The arguments without the offset behind them. */
const cut = (args) => {
  const offset = args.at(-1);
  assert.match(offset, /^[0-9]+-[0-9]+$/);
  return plain(args.slice(0, -1));
};

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
      for (const client of hearers) assert.deepEqual(heard(client, "news").map(cut), [plain(args)], client.label);
    });
  }
}

test("one order on all nodes", async () => {
  for (const client of all) client.heard = [];
  for (let i = 0; i < 100; i++) {
    [ours[0], ours[3]].forEach((sender, n) => sender.emit("emit", {}, "count", `${n}:${i}`));
    if (i % 10 === 0) await new Promise(setImmediate);
  }
  await hear(all, "count", 200);
  const [first, ...others] = all.map((client) => heard(client, "count"));
  for (const n of ["0", "1"]) {
    assert.deepEqual(first.map(([text]) => text.split(":")).filter(([from]) => from === n).map(([, i]) => Number(i)), [...Array(100).keys()]);
  }
  for (const other of others) assert.deepEqual(other, first);
});

/** Lets a client go from one server to another; what it missed is heard before it is connected. */
async function move(client, to, meanwhile) {
  client.io.uri = to.url;
  client.io.reconnectionDelay(300);
  client.io.reconnectionDelayMax(300);
  client.io.engine.close();
  await until("the connection is lost", () => !client.connected);
  await meanwhile?.();
  await until("the client is back", () => client.connected);
}

for (const [from, to] of [["Chorus 1", "Chorus 2"], ["Chorus 1", "Node"], ["Node", "Chorus 1"], ["Chorus 1", "Chorus 1"]]) {
  test(`recovery from ${from} on ${to}`, async () => {
    const client = await connect(servers[from].url);
    const { id } = client;
    await client.timeout(5000).emitWithAck("join", ["red", "ü"]);
    await client.timeout(5000).emitWithAck("keep", { name: "Ann", list: [1, null] });
    client.emit("again", "first", 0);
    await hear([client], "first", 1);
    await move(client, servers[to], async () => {
      for (const sender of [theirs[0], ours[0]]) {
        sender.emit("emit", {}, "missed", "text");
        sender.emit("emit", { to: ["ü"] }, "missed", binary);
        sender.emit("emit", { to: ["elsewhere"] }, "missed", "not mine");
        sender.emit("emit", { except: ["red"] }, "missed", "not for me");
        sender.emit("emit", { to: [id] }, "missed", "private");
      }
    });
    assert.equal(client.recovered, true);
    assert.equal(client.id, id);
    await until("what was missed", () => heard(client, "missed").length >= 6);
    const got = heard(client, "missed").map(cut).map(([value]) => value);
    assert.deepEqual(got.filter((value) => value === "text").length, 2);
    assert.deepEqual(got.filter((value) => value === "private").length, 2);
    assert.deepEqual(got.filter((value) => typeof value === "object"), [plain(binary), plain(binary)]);
    assert.equal(got.length, 6);
    const state = await client.timeout(5000).emitWithAck("state");
    assert.deepEqual(state.rooms.sort(), [id, "red", "ü"].sort());
    assert.deepEqual(state.value, { name: "Ann", list: [1, null] });
    assert.equal(state.recovered, true);
    ours[4].emit("emit", { to: ["ü"] }, "live", 1);
    await hear([client], "live", 1);
    client.disconnect();
  });
}

test("a session is given back once", async () => {
  const client = await connect(servers["Chorus 1"].url);
  client.emit("again", "first");
  await hear([client], "first", 1);
  const { id } = client;
  await move(client, servers["Chorus 2"]);
  assert.equal(client.id, id);
  const thief = await connect(servers.Node.url, "websocket", { auth: { pid: client._pid, offset: client._lastOffset } });
  assert.notEqual(thief.id, id);
  thief.disconnect();
  client.disconnect();
  const again = await connect(servers["Chorus 1"].url, "websocket", { auth: { pid: client._pid, offset: client._lastOffset } });
  assert.notEqual(again.id, id, "on purpose is for good");
  again.disconnect();
});

test("volatile events are not replayed and spoil no offset", async () => {
  const client = await connect(servers["Chorus 1"].url);
  const { id } = client;
  await until("a volatile event is heard", () => {
    ours[3].emit("emit", { volatile: true }, "cursor", "a string");
    return heard(client, "cursor").length > 0;
  });
  client.heard = [];
  await move(client, servers["Chorus 2"], () => {
    ours[3].emit("emit", { volatile: true }, "cursor", "missed");
    ours[3].emit("emit", {}, "kept", "missed");
  });
  assert.equal(client.id, id);
  await hear([client], "kept", 1);
  assert.deepEqual(heard(client, "cursor").filter(([text]) => text === "missed"), []);
  client.disconnect();
});

// Node's own servers lose or double events when a client comes back under load, so this goes between ours.
test("a client that moves under load hears each event once and in order", async () => {
  const client = await connect(servers["Chorus 1"].url);
  const { id } = client;
  let emitting = true, sent = 0;
  const emitter = (async () => {
    while (emitting) {
      ours[0].emit("emit", {}, "load", sent++);
      await new Promise((resolve) => setTimeout(resolve, 1));
    }
  })();
  await hear([client], "load", 10);
  for (let round = 0; round < 10; round++) {
    await move(client, servers[round % 2 ? "Chorus 1" : "Chorus 2"]);
    assert.equal(client.id, id, `round ${round}`);
    const before = heard(client, "load").length;
    await hear([client], "load", before + 10);
  }
  emitting = false;
  await emitter;
  ours[0].emit("emit", {}, "end");
  await hear([client], "end", 1);
  const numbers = heard(client, "load").map(([n]) => n);
  assert.deepEqual(numbers, numbers.map((_, i) => numbers[0] + i));
  assert.equal(numbers.at(-1), sent - 1);
  client.disconnect();
});
