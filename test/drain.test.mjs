// One node after the other is drained under load, behind the HAProxy configuration that we ship, with its affinity and without: official
// clients of every transport go over to the other nodes with their sessions, and nobody else notices.
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { createAdapter } from "@socket.io/redis-streams-adapter";
import { createClient } from "redis";
import { Server } from "socket.io";
import { connect, heard, ways } from "./harness/client.mjs";
import { HAProxy } from "./harness/haproxy.mjs";
import { Node, programPath } from "./harness/node.mjs";
import { Program, until } from "./harness/program.mjs";
import { Redis } from "./harness/redis.mjs";

const event = "count";
// HAProxy needs two seconds to see that a node is not ready.
const args = [
  "--adapter", "redis-streams", "--drain.lame-duck", "2500ms", "--drain.spread", "1500ms", "--drain.timeout", "10s", "--drain.status", "404",
];
const closings = [];
after(() => Promise.all(closings.map((close) => close())));

/** Three nodes behind HAProxy, clients of every way, and a Node server without clients that counts for all of them. */
async function cast(affinity) {
  const world = { redis: await Redis.start(), sent: 0 };
  world.nodes = await Promise.all(["n1", "n2", "n3"].map((id) => Node.serve(id, { redis: world.redis, args })));
  world.proxy = await HAProxy.start(world.nodes, { affinity });
  const control = createClient({ url: world.redis.url }).on("error", () => {});
  await control.connect();
  const io = new Server({ adapter: createAdapter(control), connectionStateRecovery: {} });
  const counting = setInterval(() => io.emit(event, world.sent++), 10);
  closings.push(async () => { clearInterval(counting); await io.of("/").adapter.close(); control.destroy(); });
  world.clients = [];
  for (let i = 0; i < 3; i++) {
    for (const way of Object.keys(ways)) {
      const client = await connect(world.proxy.url, way, { reconnectionDelay: 300 });
      Object.assign(client, { ends: [], errors: [], recoveries: [] });
      client.on("disconnect", (reason, details) => client.ends.push(reason === "transport close" ? reason : `${reason}: ${details?.message} ${details?.context?.responseText}`));
      client.on("connect", () => client.recoveries.push(client.recovered));
      client.on("connect_error", (error) => client.errors.push(String(error.description ?? error)));
      world.clients.push(client);
    }
  }
  await until("everyone hears the count", () => world.clients.every((client) => heard(client, event).length > 0));
  world.stop = () => clearInterval(counting);
  return world;
}

const nodeOf = (client, nodes) => nodes.find(({ id }) => client.io.engine.id?.startsWith(`${id}_`));
const count = (client) => heard(client, event).map(([n]) => n);

/** Waits until all are connected, and have heard what is said now. */
async function allAreBack({ clients, nodes, ...world }, without) {
  await until(() => `all are back: ${clients.filter(({ connected }) => !connected).map(({ label }) => label)}`, () => clients.every(
    (client) => client.connected && nodeOf(client, nodes) !== without,
  ));
  const now = world.sent;
  await until("all have heard the newest", () => clients.every((client) => count(client).at(-1) >= now));
}

/** Everyone lost their connection in order, if at all, came back at once with their session, and heard everything once and in order. */
function nobodyLostAnything({ clients }) {
  for (const client of clients) {
    const { label, ends, errors, recoveries } = client;
    assert.deepEqual(errors, [], `${label} was refused`);
    assert.deepEqual(ends.filter((reason) => reason !== "transport close"), [], label);
    assert.deepEqual(recoveries, ends.map(() => true), `${label} has its session`);
    const numbers = count(client);
    assert.deepEqual(numbers, numbers.map((_, i) => numbers[0] + i), `${label} heard everything once`);
  }
}

async function refusals(nodes) {
  const results = ["bad_request", "forbidden", "limit", "draining"];
  const sums = await Promise.all(nodes.flatMap((node) => results.map((result) => node.metric("chorus_handshakes_total", { result }))));
  return sums.reduce((sum, n) => sum + n, 0);
}

describe("drain", { concurrency: 2 }, () => {
  for (const affinity of [true, false]) {
    describe(affinity ? "with affinity" : "without affinity", { concurrency: 1 }, () => {
      let world;
      before(async () => { world = await cast(affinity); });

      test("a node hands its clients over when it is asked to", async () => {
        const [first, leaving, third] = world.nodes;
        const moving = world.clients.filter((client) => nodeOf(client, world.nodes) === leaving);
        assert.ok(moving.length > 0);
        const address = new URL(leaving.internal).host;
        const asked = new Program("drain", programPath(), ["drain", "--addr", address, "--wait"]);
        await until("it drains", async () => await leaving.metric("chorus_draining") === 1);
        const refused = await fetch(`${leaving.url}/socket.io/?EIO=4&transport=polling`);
        assert.deepEqual([refused.status, refused.headers.get("retry-after"), refused.headers.get("connection")], [503, "1", "close"]);
        const newcomer = await connect(world.proxy.url, "polling");
        assert.notEqual(nodeOf(newcomer, world.nodes), leaving);
        newcomer.disconnect();
        for (const client of moving) assert.deepEqual(client.ends, [], "those who are there are served meanwhile");
        await allAreBack(world, leaving);
        assert.deepEqual(await asked.exit, { code: 0, signal: null }, asked.output);
        assert.match(asked.output, new RegExp(`^node n2 drains: ${moving.length} connections\\n[^]*done +0 open[^]*node n2 has ended\\n$`));
        assert.deepEqual(await leaving.program.exit, { code: 0, signal: null });
        for (const client of moving) assert.deepEqual(client.ends, ["transport close"], client.label);
        if (affinity) for (const client of world.clients.filter((each) => !moving.includes(each))) assert.deepEqual(client.ends, [], client.label);
        assert.equal(await refusals([first, third]), 0, "the others refused nobody");
        nobodyLostAnything(world);
        world.nodes[1] = await Node.serve(leaving.id, { redis: world.redis, args, place: leaving });
        await world.proxy.up(world.nodes);
      });

      test("a rolling restart of all nodes", async () => {
        for (const [i, node] of world.nodes.entries()) {
          assert.deepEqual(await node.stop("SIGTERM"), { code: 0, signal: null });
          world.nodes[i] = await Node.serve(node.id, { redis: world.redis, args, place: node });
          await world.proxy.up(world.nodes);
        }
        await allAreBack(world);
        assert.equal(await refusals(world.nodes), 0);
        nobodyLostAnything(world);
        assert.ok(world.clients.every(({ ends }) => ends.length > 0), "everyone moved at least once");
        world.stop();
      });
    });
  }
});
