// Nodes and Redis come and go under connected clients, behind the HAProxy configuration that we ship.
import assert from "node:assert/strict";
import { before, test } from "node:test";
import { connect, hear, heard, ways } from "./harness/client.mjs";
import { HAProxy } from "./harness/haproxy.mjs";
import { Node } from "./harness/node.mjs";
import { until } from "./harness/program.mjs";
import { Redis } from "./harness/redis.mjs";

const event = "chat message";
let redis, nodes, proxy, clients;

const nodeOf = (client) => nodes.find(({ id }) => client.io.engine.id?.startsWith(`${id}_`));

before(async () => {
  redis = await Redis.start();
  const args = ["--drain.lame-duck", "1500ms", "--drain.spread", "500ms", "--drain.status", "404"];
  nodes = await Promise.all(["n1", "n2", "n3"].map((id) => Node.serve(id, { redis, args })));
  proxy = await HAProxy.start(nodes);
  clients = []; // one after the other: HAProxy counts the connections that are there
  for (let i = 0; i < nodes.length; i++) for (const way of Object.keys(ways)) clients.push(await connect(proxy.url, way));
  for (const client of clients) {
    client.ends = [];
    client.on("disconnect", (reason) => client.ends.push(reason));
  }
});

/** Every client says something, and every client hears each of it once. */
async function everyoneHearsEveryone() {
  for (const client of clients) client.heard = [];
  for (let i = 0; i < 5; i++) clients.forEach((client, sender) => client.emit(event, sender, i));
  await hear(clients, event, 5 * clients.length);
  for (const client of clients) {
    const bySender = clients.map(() => []);
    for (const [sender, i] of heard(client, event)) bySender[sender].push(i);
    for (const numbers of bySender) assert.deepEqual(numbers, [0, 1, 2, 3, 4], client.label);
  }
}

test("clients of every transport are spread by the balancer and hear each other", async () => {
  assert.deepEqual(nodes.map((node) => clients.filter((client) => nodeOf(client) === node).length), [3, 3, 3]);
  await everyoneHearsEveryone();
});

test("a node that gets SIGTERM hands its clients to the others", async () => {
  const [, leaving] = nodes;
  const moving = clients.filter((client) => nodeOf(client) === leaving);
  const staying = clients.filter((client) => nodeOf(client) !== leaving);
  const start = Date.now();
  const stopped = leaving.stop("SIGTERM");
  await until("it says that it is not ready", async () => (await fetch(`${leaving.internal}/readyz`)).status === 404);
  const refused = await fetch(`${leaving.url}/socket.io/?EIO=4&transport=polling`);
  assert.equal(refused.status, 503, "new clients are refused");
  assert.equal(refused.headers.get("retry-after"), "1");
  const newcomer = await connect(proxy.url, "polling");
  assert.notEqual(nodeOf(newcomer), leaving, "and find another node by themselves");
  newcomer.disconnect();
  for (const client of moving) assert.deepEqual(client.ends, [], "those who are there are served meanwhile");

  assert.deepEqual(await stopped, { code: 0, signal: null });
  assert.ok(Date.now() - start < 10_000, `it took ${Date.now() - start} ms`);
  await until("all are connected elsewhere", () => clients.every((client) => client.connected && nodeOf(client) !== leaving));
  // Not "io server disconnect", after which a client would stay away.
  for (const client of moving) assert.deepEqual(client.ends, ["transport close"], client.label);
  for (const client of staying) assert.deepEqual(client.ends, [], client.label);
  await everyoneHearsEveryone();
});

test("without Redis the clients of one node still hear each other, and with it again all do", async () => {
  for (const client of clients) {
    client.heard = [];
    client.ends = [];
  }
  await redis.stop();
  const [node] = nodes;
  const [neighbours, others] = [clients.filter((client) => nodeOf(client) === node), clients.filter((client) => nodeOf(client) !== node)];
  await until("the node notices", async () => await node.metric("chorus_redis_up") === 0);
  neighbours[0].emit(event, "alone");
  await hear(neighbours, event, 1);
  for (const client of others) assert.deepEqual(heard(client, event), [], client.label);

  await redis.restart();
  await until("both nodes have Redis in both directions", async () => {
    const up = await Promise.all([nodes[0], nodes[2]].map((each) => each.metric("chorus_redis_up")));
    return up.every((sum) => sum === 2);
  });
  await until("a message crosses", () => {
    neighbours[0].emit(event, "again");
    others[0].emit(event, "again");
    return clients.every((client) => heard(client, event).filter(([text]) => text === "again").length > 1);
  });
  for (const client of [neighbours[0], others[0]]) client.emit(event, "fence");
  const fences = (client) => heard(client, event).filter(([text]) => text === "fence").length;
  await until("what was on its way is through", () => clients.every((client) => fences(client) === 2));
  await everyoneHearsEveryone();
  for (const client of clients) assert.deepEqual(client.ends, [], `${client.label} noticed nothing`);
  assert.ok(await node.metric("chorus_redis_reconnects_total") >= 1);
});

test("clients of a node that is killed come back on another", async () => {
  const [killed] = nodes;
  await killed.stop("SIGKILL");
  await until("all are connected elsewhere", () => clients.every((client) => client.connected && nodeOf(client) === nodes[2]), 30_000);
  await everyoneHearsEveryone();
});

test("SIGINT ends a node at once and politely", async () => {
  const last = nodes[2];
  const start = Date.now();
  assert.deepEqual(await last.stop("SIGINT"), { code: 0, signal: null });
  assert.ok(Date.now() - start < 2000, `it took ${Date.now() - start} ms`);
});
