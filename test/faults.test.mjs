// Nodes die or stand still while others wait for their answers, programs listen that never answer, and anyone publishes anything: whoever
// asks gets what came, and is told who was silent, and everyone else goes on.
import assert from "node:assert/strict";
import { before, describe, test } from "node:test";
import { connect, hear, heard } from "./harness/client.mjs";
import { hostile } from "./harness/hostile.mjs";
import { ask, askAll, ids } from "./harness/mixed.mjs";
import { Node } from "./harness/node.mjs";
import { installed, Program, until } from "./harness/program.mjs";
import { Redis } from "./harness/redis.mjs";

const lapse = 3000; // after which a silent node is taken for lost; it is noticed with the next heartbeat
const heartbeat = 1000;
const margin = 1000; // of a busy machine
const soon = 1000; // for what costs nothing

/** Each asks all nodes, and returns what came and why something is missing. */
const requests = {
  async "fetch"(client) {
    const [error, sockets] = await askAll(client, "sockets", {});
    return { error, got: ids(sockets) };
  },
  async "count"(client) {
    const [error, got] = await askAll(client, "count", {});
    return { error, got };
  },
  async "server-side emit with acknowledgements"(client) {
    const [error, answers] = await askAll(client, "ask servers", "who?");
    return { error, got: answers.map(({ server }) => server).sort() };
  },
  async "broadcast with acknowledgements"(client) {
    const [answers, , error] = await askAll(client, "poll", { timeout: 9000 }, "who?");
    return { error, got: answers.sort() };
  },
};

/** Nodes of ours. The first has a client for each request, since the events of one are handled one after the other; the others one. */
async function cast(size, args, redisArgs = []) {
  const redis = await Redis.start(...redisArgs);
  const world = { redis, args, nodes: [], callers: {}, clients: [], ends: [] };
  await Promise.all(Array.from({ length: size }, (_, i) => enter(world, i)));
  await settled(world);
  return world;
}

async function enter({ redis, args, nodes, callers, clients, ends }, i) {
  nodes[i] = await Node.application(`n${i + 1}`, { redis, args });
  const names = i === 0 ? Object.keys(requests) : ["client"];
  clients[i] = await Promise.all(names.map(async (name) => {
    const client = await connect(nodes[i].url);
    client.on("question", (_, ack) => ack(client.id));
    client.on("disconnect", (reason) => ends.push(`${name} of n${i + 1}: ${reason}`));
    if (i === 0) callers[name] = client;
    return client;
  }));
}

/** What each request gets of these nodes. */
function expected({ nodes, clients }, present = nodes) {
  const there = clients.filter((_, i) => present.includes(nodes[i])).flat();
  return {
    "fetch": ids(there), "count": there.length, "broadcast with acknowledgements": ids(there),
    "server-side emit with acknowledgements": present.slice(1).map(({ id }) => id).sort(),
  };
}

/** Starts all requests at once. */
const askEverything = ({ callers }) => Promise.all(Object.entries(requests).map(async ([name, request]) => {
  const start = Date.now();
  return { name, ...await request(callers[name]), took: Date.now() - start };
}));

/** All requests are answered by these nodes, at once. */
async function assertAnswered(world, present) {
  for (const { name, error, got, took } of await askEverything(world)) {
    assert.deepEqual({ error, got }, { error: null, got: expected(world, present)[name] }, name);
    assert.ok(took < soon, `${name} took ${took} ms`);
  }
}

/** Waits until all nodes answer each other, and everyone hears everyone. */
async function settled(world) {
  await until("everyone answers", async () => {
    const answers = await askEverything(world);
    return answers.every(({ name, error, got }) => !error && String(got) === String(expected(world)[name]));
  });
  const everyone = world.clients.flat();
  for (const [client] of world.clients) client.emit("emit", {}, "settled");
  await hear(everyone, "settled", world.nodes.length);
  for (const client of everyone) client.heard = [];
}

/** The answers say what the others gave, and name the one that was silent until it was taken for lost. */
function assertNamed(world, answers, silent) {
  const present = world.nodes.filter((node) => node !== silent);
  for (const { name, error, got, took } of answers) {
    assert.deepEqual(got, expected(world, present)[name], name);
    assert.match(error, new RegExp(`no answer of 1 nodes \\(${silent.id}\\): the node was lost`), name);
    assert.ok(took < lapse + heartbeat + margin, `${name} took ${took} ms`);
  }
  return answers.map(({ name, took }) => `${name}: ${took} ms`).join(", ");
}

/** What is not answered has its effect on the others at once; in the other namespace, whose sockets no request counts. */
async function assertObeyed({ clients }) {
  const [sender, other] = [clients[0][0].io.socket("/other"), clients[1][0].io.socket("/other")];
  for (const each of [sender, other]) if (!each.active) each.connect();
  await until("they are there", () => sender.connected && other.connected);
  const rooms = async () => (await ask(other, "state")).rooms;
  sender.emit("all join", {}, ["green"]);
  await until("the others have joined", async () => (await rooms()).includes("green"), soon);
  sender.emit("all leave", {}, ["green"]);
  await until("the others have left", async () => !(await rooms()).includes("green"), soon);
  sender.emit("all disconnect", { to: [other.id] }, false);
  await until("the other is disconnected", () => other.disconnected, soon);
  sender.disconnect();
}

describe("three nodes", { concurrency: 3 }, () => { // which mostly wait
  for (const adapter of ["classic", "sharded", "streams"]) {
    describe(adapter, { concurrency: 1 }, () => nodesDie(adapter));
  }
});

function nodesDie(adapter) {
  let world, victim, others;
  before(async () => {
    world = await cast(3, ["--adapter", adapter]);
    victim = world.nodes[2];
    others = world.nodes.slice(0, 2);
  });

  test("one stands still during requests of every kind, and comes back", async (t) => {
    await victim.program.freeze();
    const asked = askEverything(world);
    await assertObeyed(world);
    t.diagnostic(assertNamed(world, await asked, victim));
    await assertAnswered(world, others);
    victim.program.signal("SIGCONT");
    await settled(world);
    assert.deepEqual(await askAll(world.callers.fetch, "nodes"), [null, ["n1", "n2", "n3"]]);
    assert.deepEqual(world.ends, [], "its clients noticed nothing");
  });

  test("one is killed during requests of every kind", async (t) => {
    const answers = async () => await others[0].metric("chorus_redis_received_total", { channel_kind: "response", result: "delivered" }) ?? 0;
    const already = await answers();
    await victim.program.freeze(); // else it might answer first
    const asked = askEverything(world);
    await until("the other node has answered each", async () => await answers() >= already + 5);
    await victim.stop("SIGKILL");
    await assertObeyed(world);
    t.diagnostic(assertNamed(world, await asked, victim));
    await assertAnswered(world, others);
  });

  test("one is killed, and nobody waits for it", async () => {
    for (const client of world.clients[2]) client.disconnect();
    await enter(world, 2);
    await settled(world);
    const lost = () => others[0].log.filter(({ msg }) => msg === "redisadapter: node lost").length;
    const before = lost();
    await world.nodes[2].stop("SIGKILL");
    await assertAnswered(world, others);
    await until("it is lost", () => lost() > before);
    await assertAnswered(world, others);
  });
}

test("a program that only listens is waited for twice", async (t) => {
  const timeout = 1500;
  const world = await cast(2, ["--adapter", "classic", "--request-timeout", `${timeout}ms`]);
  const listen = async (count) => {
    const spy = new Program("redis-cli", installed("redis-cli", "redis-tools"), ["-p", world.redis.port, "SUBSCRIBE", "socket.io-request#/#"].map(String));
    await until("it listens", async () => (await world.redis.subscribers()).get("socket.io-request#/#") === count);
    return spy;
  };
  const { fetch } = world.callers;
  for (const [count, spies] of [[3, 1], [4, 2]]) {
    const spy = await listen(count);
    for (let i = 0; i < 2; i++) {
      const start = Date.now();
      const { error, got } = await requests.fetch(fetch);
      const took = Date.now() - start;
      assert.match(error, new RegExp(`no answer of ${spies} nodes \\(${spies} unnamed\\): request timeout`));
      assert.deepEqual(got, expected(world).fetch);
      assert.ok(took >= timeout && took < timeout + margin, `it took ${took} ms`);
      t.diagnostic(`${spies} that listen, request ${i + 1}: ${took} ms, ${error}`);
    }
    await assertAnswered(world);
    if (spies === 1) world.first = spy;
    else for (const each of [world.first, spy]) await each.stop("SIGKILL");
  }
  await until("they are gone", async () => (await world.redis.subscribers()).get("socket.io-request#/#") === 2);
  await assertAnswered(world);
  assert.deepEqual(world.ends, []);
});

describe("hostile messages", { concurrency: 1 }, () => {
  const kinds = {
    classic: ["broadcast", "room", "request", "response", "membership"],
    sharded: ["broadcast", "response", "membership"],
    streams: ["stream", "response", "membership"],
  };
  for (const [adapter, damaged] of Object.entries(kinds)) {
    test(adapter, async (t) => {
      const world = await cast(2, ["--adapter", adapter], ["--client-output-buffer-limit", "pubsub 0 0 0"]);
      await ask(world.callers.fetch, "join", ["hall"]);
      await ask(world.clients[1][0], "join", ["hall"]);
      await settled(world);
      const malformed = (node, kind) => node.metric("chorus_redis_received_total", { channel_kind: kind, result: "malformed" });
      const memory = world.nodes.map(({ program }) => program.memory);
      const { redis } = world;
      const client = await redis.client();
      const [channels, sharded] = [await redis.command("PUBSUB", "CHANNELS"), await redis.command("PUBSUB", "SHARDCHANNELS")];
      const payloads = hostile();
      let sent = 0;
      for (const [command, names] of [["PUBLISH", channels], ["SPUBLISH", sharded]]) {
        for (const name of names) {
          sent += payloads.length;
          await Promise.all(payloads.map((payload) => client.sendCommand([command, name, payload])));
        }
      }
      if (adapter === "streams") {
        for (const field of ["uid", "nsp", "type", "data"]) {
          const entry = { uid: "0123456789abcdef", nsp: "/", type: "3", data: "{}" };
          await Promise.all(payloads.map((payload) => client.sendCommand(["XADD", "socket.io", "*", ...Object.entries({ ...entry, [field]: payload }).flat()])));
          sent += payloads.length;
        }
      }
      for (const client of world.clients.flat()) client.heard = [];
      await settled(world);
      await assertAnswered(world);
      assert.deepEqual(world.ends, [], "nobody was disconnected");
      for (const [i, node] of world.nodes.entries()) {
        for (const kind of damaged) assert.ok(await malformed(node, kind) > 0, `${node.id} counts malformed messages of kind ${kind}`);
        const grown = (node.program.memory - memory[i]) / 1e6;
        assert.ok(grown < 300, `${node.id} grew by ${grown} MB`);
        const warnings = node.log.filter(({ level }) => level === "WARN" || level === "ERROR");
        assert.ok(warnings.length < 200, `${node.id} logged ${warnings.length} times`);
        assert.ok(!node.program.output.includes("panic"), node.program.output);
        t.diagnostic(`${node.id}: ${sent} messages on ${channels.length + sharded.length} channels, ${Math.round(grown)} MB more, ${warnings.length} lines of log`);
      }
    });
  }
});
