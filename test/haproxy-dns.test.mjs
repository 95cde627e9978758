// HAProxy with the configuration that docker compose uses: it finds nodes by DNS and learns their tags from them. All nodes have the
// same ports, each on an address of its own, as containers do.
import assert from "node:assert/strict";
import { before, test } from "node:test";
import { acquainted, Crowd, forwarded, tagOf } from "./harness/crowd.mjs";
import { DNS } from "./harness/dns.mjs";
import { HAProxy } from "./harness/haproxy.mjs";
import { Node } from "./harness/node.mjs";
import { freePort, until } from "./harness/program.mjs";
import { Redis } from "./harness/redis.mjs";

const lost = ["transport close", "transport error"];
const address = (i) => `127.0.1.${i}`;
let redis, dns, ports, nodes, proxy, crowd;

const serve = (tag, i) => Node.serve(tag, {
  redis, place: { url: `http://${address(i)}:${ports.port}`, internal: `http://${address(i)}:${ports.internal}` },
  args: ["--drain.lame-duck", "1500ms", "--drain.status", "404"],
});

/** Everyone talks, and no request comes to a node that must pass it on. */
async function straight(message) {
  const live = nodes.filter(({ program }) => !program.ended);
  const count = await forwarded(live);
  await crowd.everyoneHearsEveryone();
  assert.equal(await forwarded(live), count, message);
}

before(async () => {
  redis = await Redis.start();
  dns = await DNS.start();
  ports = { port: await freePort(), internal: await freePort() };
  nodes = await Promise.all([1, 2, 3].map((i) => serve(`n${i}`, i)));
  await acquainted(nodes);
  dns.addresses = [1, 2, 3].map(address);
  proxy = await HAProxy.discover(dns, ports);
  await proxy.up(nodes);
  crowd = await Crowd.gather(proxy.url, 4);
});

test("clients of every way are spread over the nodes that DNS names, and each request comes to the node of its session", async () => {
  for (const { id } of nodes) assert.equal(crowd.on(id).length, 4, id);
  await straight("by what the handshakes told");
  assert.equal(await forwarded(nodes), 0);
  const answer = await fetch(`${proxy.url}/socket.io/?EIO=4&transport=polling`);
  assert.equal(answer.headers.get("chorus-node"), null, "clients need not know it");
});

test("a node that DNS names later gets clients, and keeps them until it ends when DNS no longer names it", async () => {
  const fourth = await serve("n4", 4);
  nodes.push(fourth);
  await acquainted(nodes);
  dns.addresses = [1, 2, 3, 4].map(address);
  await proxy.up(nodes);
  for (let i = 0; i < 4; i++) for (const way of ["polling", "websocket"]) await crowd.add(proxy.url, way);
  assert.ok(crowd.on("n4").length > 0, "it has clients");
  await straight("nothing was changed");

  dns.addresses = [1, 2, 3].map(address);
  await new Promise((resolve) => setTimeout(resolve, 3000)); // HAProxy asks each second
  await straight("it may still drain");
  crowd.undisturbed();
  const moving = crowd.on("n4");
  const stopped = fourth.stop("SIGTERM", 20_000);
  await until("it drains", async () => (await fetch(`${fourth.internal}/readyz`)).status === 404);
  assert.deepEqual(await stopped, { code: 0, signal: null });
  await crowd.comesBack(moving, ["transport close"], "n4");
  nodes.pop();
  await proxy.up(nodes);
});

test("a node that comes back with the same address and another tag is known by it", async () => {
  const [killed] = nodes;
  const moving = crowd.on(killed.id);
  await killed.stop("SIGKILL");
  await crowd.comesBack(moving, lost, killed.id);
  nodes[0] = await serve("another", 1);
  await acquainted(nodes);
  await proxy.up(nodes);
  for (let i = 0; i < 4; i++) await crowd.add(proxy.url, "polling");
  assert.ok(crowd.on("another").length > 0, "it has clients");
  await straight("its new tag was learned");
  const stale = await fetch(`${proxy.url}/socket.io/?EIO=4&transport=polling&sid=${killed.id}_01234567890123456789`);
  assert.deepEqual([stale.status, await stale.text()], [400, '{"code":1,"message":"Session ID unknown"}'], "its former sessions are no one's");
});

test("clients of a node that stands still come back on another", async () => {
  const [, still] = nodes;
  const moving = crowd.on(still.id);
  await still.program.freeze();
  await crowd.comesBack(moving, lost, still.id); // long before the heartbeat's 45 s
  still.program.signal("SIGCONT");
  await proxy.up(nodes);
});

test("a reload cuts nobody and forgets no tag", async () => { // of a process that is older than 5 s: before, it may not have all itself
  await proxy.reload();
  await proxy.up(nodes);
  await straight("the new process got the table of the old one");
  crowd.undisturbed();
});

test("with a table that is too small or forgets too early, the nodes pass requests on", async () => {
  crowd.leave();
  const [small, brief] = await Promise.all([
    HAProxy.discover(dns, { ...ports, changes: [[/size 10k/, "size 1"]] }),
    HAProxy.discover(dns, { ...ports, changes: [[/expire 24h/, "expire 100ms"]] }),
  ]);
  for (const each of [small, brief]) {
    await each.up(nodes);
    const before = await forwarded(nodes);
    crowd = new Crowd();
    for (let i = 0; i < 9; i++) await crowd.add(each.url, "polling");
    assert.equal(new Set(crowd.clients.map(tagOf)).size, 3, "all nodes have clients");
    await new Promise((resolve) => setTimeout(resolve, 500));
    await crowd.everyoneHearsEveryone();
    crowd.undisturbed();
    assert.ok(await forwarded(nodes) > before, "what the table did not know came to any node");
    crowd.leave();
  }
});
