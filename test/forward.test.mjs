// Three nodes behind a balancer that knows nothing of sessions: every request goes to the next node, and is passed on to the
// one that has the session.
import assert from "node:assert/strict";
import { request } from "node:http";
import { before, test } from "node:test";
import { connect, hear, heard, ways } from "./harness/client.mjs";
import { HAProxy } from "./harness/haproxy.mjs";
import { Node } from "./harness/node.mjs";
import { until } from "./harness/program.mjs";
import { Redis } from "./harness/redis.mjs";

const event = "chat message";
const unknownSession = '{"code":1,"message":"Session ID unknown"}';
let redis, nodes, proxy, clients;

const nodeOf = (client) => nodes.find(({ id }) => client.io.engine.id?.startsWith(`${id}_`));
const forwarded = async (node, result) => await node.metric("chorus_requests_forwarded_total", { result });
const sum = async (f) => (await Promise.all(nodes.filter((node) => !node.program.ended).map(f))).reduce((a, b) => a + b, 0);

/** Waits until each of the nodes can pass requests on to all the others. */
const acquainted = (all) => until("all nodes know each other", async () => {
  const reachable = await Promise.all(all.map((node) => node.metric("chorus_forward_nodes")));
  return reachable.every((n) => n === all.length - 1);
});

/** The answer to a bare request, and how long it took. */
async function ask(node, path, options = {}) {
  const start = Date.now();
  const response = await fetch(node.url + path, options);
  return { status: response.status, body: await response.text(), took: Date.now() - start };
}

const poll = (sid) => `/socket.io/?EIO=4&transport=polling&sid=${sid}`;

/** Opens a session by hand on a node. */
async function open(node) {
  const { body } = await ask(node, "/socket.io/?EIO=4&transport=polling");
  return JSON.parse(body.slice(1)).sid;
}

/** The answer to a bare upgrade. */
function upgrade(node, sid) {
  return new Promise((resolve, reject) => {
    const { hostname, port } = new URL(node.url);
    const headers = { Connection: "Upgrade", Upgrade: "websocket", "Sec-WebSocket-Version": "13", "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==" };
    const r = request({ hostname, port, path: `/socket.io/?EIO=4&transport=websocket&sid=${sid}`, headers });
    r.on("upgrade", (response, socket) => resolve({ status: response.statusCode, socket }));
    r.on("response", async (response) => {
      let body = "";
      for await (const chunk of response) body += chunk;
      resolve({ status: response.statusCode, body, type: response.headers["content-type"] });
    });
    r.on("error", reject);
    r.end();
  });
}

/** Every client says something, and every client hears each of it once, in order. */
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

before(async () => {
  redis = await Redis.start();
  nodes = await Promise.all(["n1", "n2", "n3"].map((id) => Node.serve(id, { redis })));
  await acquainted(nodes);
  proxy = await HAProxy.start(nodes, { affinity: false });
});

test("clients of every way connect and stay, though each of their requests goes to another node", async () => {
  clients = await Promise.all(Array.from({ length: 10 }, () => Object.keys(ways)).flat().map(async (way) => {
    const client = await connect(proxy.url, way, { way });
    client.ends = [];
    client.errors = [];
    client.on("disconnect", (reason) => client.ends.push(reason));
    client.on("connect_error", (error) => client.errors.push(error.message));
    return client;
  }));
  for (const node of nodes) assert.ok(clients.some((client) => nodeOf(client) === node), `no client on ${node.id}`);
  await everyoneHearsEveryone();
  for (const client of clients) client.heard = [];
  for (const client of clients) {
    for (let i = 0; i < 5; i++) {
      const answer = await client.timeout(5000).emitWithAck(event, "with acknowledgement", i);
      assert.equal(answer, undefined, client.label); // the application acknowledges without a value
    }
  }
  await hear(clients, event, 5 * clients.length);
  await everyoneHearsEveryone();
  for (const client of clients) assert.deepEqual([client.ends, client.errors], [[], []], client.label);
  assert.equal(await sum((node) => node.metric("chorus_engine_requests_rejected_total")), 0, "no request was refused");
  assert.ok(await sum((node) => forwarded(node, "ok")) > 100, "requests were passed on");
  for (const result of ["unreachable", "refused", "gone"]) assert.equal(await sum((node) => forwarded(node, result)), 0, result);
  const relayed = await sum((node) => node.metric("chorus_relayed_connections"));
  assert.ok(relayed > 0 && relayed <= 10, `${relayed} WebSockets are relayed`);
});

test("a large message passes through another node", async () => {
  const [client] = clients;
  const text = "x".repeat(900_000);
  for (const each of clients) each.heard = [];
  client.emit(event, text);
  await hear(clients, event, 1);
  for (const each of clients) assert.equal(heard(each, event)[0][0], text, each.label);
});

test("what a client cannot know is refused, and what it pretends is not believed", async () => {
  const sid = await open(nodes[0]);
  const [, front] = nodes;
  const outside = await front.metric("chorus_forwards_refused_total", { reason: "outside" });
  const forged = { "X-Chorus-Forward": `1 ${Date.now()} ${"A".repeat(22)} http MTI3LjAuMC4xOjE ${"A".repeat(43)}` };
  const posted = await ask(front, poll(sid), { method: "POST", body: "40", headers: forged });
  assert.deepEqual([posted.status, posted.body], [200, "ok"], "the header is taken off");
  assert.equal(await front.metric("chorus_forwards_refused_total", { reason: "outside" }), outside + 1);

  const internal = await fetch(nodes[0].internal + poll(sid), { headers: forged });
  assert.equal(internal.status, 403, "a forged forward");
  assert.match(await internal.text(), /signature/);
  const unsigned = await fetch(nodes[0].internal + poll(sid));
  assert.equal(unsigned.status, 403, "the internal address serves no clients");
  assert.equal(await nodes[0].metric("chorus_forwards_refused_total", { reason: "signature" }), 1);
  assert.equal(await nodes[0].metric("chorus_forwards_refused_total", { reason: "unsigned" }), 1);
  for (const unknown of ["n9_01234567890123456789", "n1_01234567890123456789"]) {
    const answer = await ask(front, poll(unknown));
    assert.deepEqual([answer.status, answer.body], [400, unknownSession], unknown);
    assert.deepEqual(await upgrade(front, unknown), { status: 400, body: "Session ID unknown", type: "text/html" }, unknown);
  }
});

test("the clients of a node that is killed are told at once and come back elsewhere", async (t) => {
  const [killed, ...others] = nodes;
  const sid = await open(killed);
  const waiting = ask(others[0], poll(sid));
  const lost = clients.filter((client) => nodeOf(client) === killed);
  assert.ok(lost.length > 0);
  const told = Promise.all(lost.map((client) => new Promise((resolve) => client.once("disconnect", () => resolve(Date.now())))));
  const start = Date.now();
  await killed.stop("SIGKILL");
  const last = Math.max(...await told) - start;
  t.diagnostic(`${lost.length} clients, the last was told after ${last} ms`);
  assert.ok(last < 2000, `the last client was told after ${last} ms`);
  const end = await waiting;
  assert.deepEqual([end.status, end.body], [400, unknownSession], "a poll that was under way");
  await until("all are connected elsewhere", () => clients.every((client) => client.connected && nodeOf(client) !== killed), 30_000);
  const { status, body, took } = await ask(others[0], poll(sid));
  assert.deepEqual([status, body], [400, unknownSession]);
  assert.ok(took < 1500, `an unknown session took ${took} ms`);
  await everyoneHearsEveryone();

  nodes[0] = await Node.serve("n1", { redis });
  await acquainted(nodes);
});

test("a poll, a post and an upgrade at a node that hangs end when the membership drops it", async () => {
  const [front, hung] = nodes;
  const [sid, other] = [await open(hung), await open(hung)];
  assert.equal((await ask(front, poll(sid), { method: "POST", body: "40" })).status, 200);
  await ask(front, poll(sid)); // the answer to CONNECT
  const relayed = await upgrade(front, other);
  assert.equal(relayed.status, 101);
  const cut = new Promise((resolve) => relayed.socket.once("close", () => resolve(Date.now())).on("error", () => {}).resume());
  const waiting = ask(front, poll(sid));
  await new Promise((resolve) => setTimeout(resolve, 100)); // it may as well come later: then it waits for the same
  const start = Date.now();
  await hung.program.freeze();
  try {
    const posting = ask(front, poll(sid), { method: "POST", body: `42["${event}","?"]` });
    const upgrading = upgrade(front, sid);
    for (const answer of await Promise.all([waiting, posting])) {
      assert.deepEqual([answer.status, answer.body], [400, unknownSession]);
      assert.ok(Date.now() - start < 6000, `it took ${answer.took} ms`);
    }
    assert.deepEqual(await upgrading, { status: 400, body: "Session ID unknown", type: "text/html" });
    assert.ok(await cut - start < 6000, "the relay ended too");
    const { status, took } = await ask(front, poll(sid));
    assert.equal(status, 400);
    assert.ok(took < 500, `later requests are answered at once, not after ${took} ms`);
  } finally {
    hung.program.child.kill("SIGCONT");
  }
  await acquainted(nodes);
  await until("all clients are connected", () => clients.every((client) => client.connected), 30_000);
  await everyoneHearsEveryone();
});

test("Redis that lost the nodes' secret gets it again", async () => {
  await redis.stop();
  await redis.restart();
  await acquainted(nodes);
  const late = await Node.serve("n4", { redis }); // finds a secret, or brings another one
  await acquainted([...nodes, late]);
  const sid = await open(late);
  await until("a new node is believed, and believes", async () => {
    const statuses = []; // one after the other: two POSTs of a session at a time end it
    for (const node of nodes) statuses.push((await ask(node, poll(sid), { method: "POST", body: "3" })).status);
    return statuses.every((status) => status === 200);
  });
  await late.stop("SIGTERM", 20_000);
});

test("with the switch off nothing is passed on", async () => {
  const off = await Node.serve("n5", { redis, args: ["--no-node.forward"] });
  const sid = await open(nodes[0]);
  assert.equal((await ask(off, poll(sid))).status, 400, "not by it");
  assert.equal((await ask(nodes[0], poll(await open(off)))).status, 400, "nor to it");
  assert.equal(await off.metric("chorus_forward_nodes"), undefined);
  assert.equal((await fetch(off.internal + poll(sid))).status, 404, "its internal address serves no sessions");
  await off.stop("SIGINT");
});

test("nodes that were given a secret need none in Redis", async () => {
  const options = { redis, env: { CHORUS_CLUSTER_SECRET: "a secret of the operator's own" } };
  const pair = await Promise.all(["p1", "p2"].map((id) => Node.serve(id, options)));
  const sid = await open(pair[0]);
  await until("the other node knows it", async () => (await ask(pair[1], poll(sid), { method: "POST", body: "3" })).status === 200);
  assert.equal((await ask(nodes[0], poll(sid), { method: "POST", body: "3" })).status, 400, "nodes with another secret are not believed");
  assert.ok(await pair[0].metric("chorus_forwards_refused_total", { reason: "signature" }) >= 1);
  await Promise.all(pair.map((node) => node.stop("SIGINT")));
});
