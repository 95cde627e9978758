// Redis dies and returns, cuts those who listen, or refuses what it is told, under a steady load: every node comes back by itself, and
// clients never notice.
import assert from "node:assert/strict";
import { after, describe, test } from "node:test";
import { connect, connectAll, hear, heard } from "./harness/client.mjs";
import { ask } from "./harness/mixed.mjs";
import { Node, records } from "./harness/node.mjs";
import { freePort, until } from "./harness/program.mjs";
import { Redis } from "./harness/redis.mjs";

const event = "chat message";

/** What a load sends can be told apart by its sender and its number, so that a client knows from when on it hears whom. */
class Load {
  sent = [];
  #timers = [];

  /** send(sender, number) is called for each of these senders, so often a second for all of them. */
  constructor(senders, rate, send) {
    const pause = 10; // timers are not exact: what is late is made up for
    const start = Date.now();
    senders.forEach((sender, i) => {
      this.sent[i] = 0;
      this.#timers.push(setInterval(() => {
        const due = (Date.now() - start) / 1000 * rate / senders.length;
        while (this.sent[i] < due) send(sender, i, this.sent[i]++);
      }, pause));
    });
    after(() => this.stop());
  }

  stop() {
    this.#timers.forEach(clearInterval);
  }
}

/** Has a client remember the newest number of each sender only, and counts. */
function follow(client, name) {
  client.newest = [];
  client.count = 0;
  client.offAny();
  client.on(name, (sender, number) => {
    client.newest[sender] = number;
    client.count++;
  });
}

/** Waits until these clients hear what these senders say from now on, and returns how long that took. */
async function fresh(load, clients, senders, since = Date.now()) {
  const marks = [...load.sent];
  const missing = () => clients.flatMap((client) => senders.filter((i) => !(client.newest[i] >= marks[i])).map((i) => `sender ${i} at ${client.label}`));
  await until(() => missing().join(", "), () => missing().length === 0);
  return Date.now() - since;
}

const watch = (clients) => {
  const ends = [];
  for (const client of clients) client.on("disconnect", (reason) => ends.push(`${client.label}: ${reason}`));
  return ends;
};

const figures = (list) => {
  const sorted = [...list].sort((a, b) => a - b);
  return `${sorted[sorted.length >> 1]} ms in the middle, ${sorted.at(-1)} ms at most`;
};

test("Redis restarts twenty times", async (t) => {
  const redis = await Redis.start();
  const nodes = await Promise.all(["n1", "n2", "n3"].map((id) => Node.serve(id, { redis })));
  const clients = await connectAll(nodes);
  const local = nodes.map((_, i) => clients.slice(3 * i, 3 * i + 3));
  const ends = watch(clients);
  for (const client of clients) follow(client, event);
  const load = new Load(local.map(([, websocket]) => websocket), 60, (client, i, number) => client.emit(event, i, number));
  const everyone = [0, 1, 2];
  await fresh(load, clients, everyone);
  const goroutines = await Promise.all(nodes.map((node) => node.metric("go_goroutines")));
  let memory;
  const times = [];
  for (let round = 0; round < 20; round++) {
    await redis.stop();
    // Clients of one node go on hearing each other; every fourth time so long that the nodes wait longer between their attempts.
    for (let i = 0; i < (round % 4 === 3 ? 10 : 1); i++) await Promise.all(everyone.map((i) => fresh(load, local[i], [i])));
    await redis.restart();
    const took = await fresh(load, clients, everyone);
    assert.ok(took < 3000, `start ${round + 1}: it took ${took} ms until everyone heard everyone`);
    times.push(took);
    if (round === 4) memory = nodes.map(({ program }) => program.memory); // once everything was used
  }
  load.stop();
  await until("all senders are heard to the end", () => clients.every(({ newest }) => everyone.every((i) => newest[i] === load.sent[i] - 1)));
  assert.deepEqual(ends, [], "no client noticed");
  for (const [i, node] of nodes.entries()) {
    assert.equal(node.program.ended, null);
    assert.ok(await node.metric("chorus_redis_reconnects_total", { role: "subscribe" }) >= 20, `${node.id} counts`);
    const grown = (node.program.memory - memory[i]) / 1e6;
    assert.ok(grown < 24, `${node.id} grew by ${grown} MB in fifteen restarts`);
    const more = await node.metric("go_goroutines") - goroutines[i];
    assert.ok(more < 20, `${node.id} has ${more} goroutines more`);
    t.diagnostic(`${node.id}: ${grown.toFixed(1)} MB and ${more} goroutines more, ${node.program.memory / 1e6 | 0} MB in all`);
  }
  t.diagnostic(`until everyone heard everyone: ${figures(times)}`);
});

test("a node that stood still for longer than a silence may last has missed nothing", async () => {
  const redis = await Redis.start();
  const nodes = await Promise.all(["n1", "n2"].map((id) => Node.serve(id, { redis })));
  const [speaker, listener] = await Promise.all(nodes.map(({ url }) => connect(url)));
  const [, still] = nodes;
  const ends = watch([speaker, listener]);
  for (let round = 0; round < 2; round++) {
    listener.heard = [];
    await still.program.freeze();
    const since = Date.now();
    const said = [];
    while (Date.now() - since < 3500) { // the watchdog's 3 s are over
      speaker.emit(event, said.length);
      said.push([said.length]);
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
    still.program.signal("SIGCONT");
    await hear([listener], event, said.length);
    assert.deepEqual(heard(listener, event), said);
  }
  assert.deepEqual(ends, []);
  assert.equal(await still.metric("chorus_redis_reconnects_total") ?? 0, 0, "no connection was given up");
});

test("those who listen are cut fifty times at a thousand messages a second", async (t) => {
  const redis = await Redis.start();
  const nodes = await Promise.all(["n1", "n2", "n3"].map((id) => Node.application(id, { redis })));
  const clients = await Promise.all(nodes.map(({ url }) => connect(url)));
  const ends = watch(clients);
  const rooms = 300; // of one member, on each node
  for (const [i, client] of clients.entries()) {
    await ask(client, "join", ["hall", ...Array.from({ length: rooms }, (_, j) => `room ${i}:${j}`)]);
    follow(client, "news");
  }
  const wanted = await redis.subscribers();
  assert.ok(wanted.size > 3 * rooms && wanted.get("socket.io#/#hall#") === 3);
  const load = new Load(clients, 1000, (client, i, number) => client.emit("emit", { to: ["hall"] }, "news", i, number));
  await fresh(load, clients, [0, 1, 2]);
  const start = { at: Date.now(), sent: load.sent.reduce((a, b) => a + b) };
  const whole = async () => {
    const now = await redis.subscribers();
    return [...wanted].every(([channel, count]) => now.get(channel) === count);
  };
  const [subscribed, delivered] = [[], []];
  for (let round = 0; round < 50; round++) {
    const since = Date.now();
    assert.equal(await redis.command("CLIENT", "KILL", "TYPE", "pubsub"), 3);
    const [channels, delivery] = await Promise.all([
      until("all channels are back", whole).then(() => Date.now() - since), fresh(load, clients, [0, 1, 2], since),
    ]);
    assert.ok(channels < 1000 && delivery < 1000, `round ${round + 1}: channels after ${channels} ms, delivery after ${delivery} ms`);
    subscribed.push(channels);
    delivered.push(delivery);
  }
  const rate = (load.sent.reduce((a, b) => a + b) - start.sent) / (Date.now() - start.at) * 1000;
  load.stop();
  assert.deepEqual(ends, []);
  assert.ok(rate > 900, `${rate} messages a second were sent`);
  for (const node of nodes) assert.ok(await node.metric("chorus_redis_reconnects_total", { role: "subscribe" }) >= 50, `${node.id} counts`);
  t.diagnostic(`${wanted.size} channels at ${rate | 0} messages a second; back: ${figures(subscribed)}; delivery: ${figures(delivered)}`);
});

describe("what Redis refuses is named", { concurrency: true }, () => {
  /** Two nodes with a client each. */
  async function cast(redis, { args, ready }) {
    const nodes = await Promise.all(["n1", "n2"].map((id) => Node.serve(id, { redis, args, ready })));
    const clients = await Promise.all(nodes.map(({ url }) => connect(url)));
    return { redis, nodes, clients, ends: watch(clients) };
  }

  const said = (client, text) => heard(client, event).filter(([each]) => each === text).length;

  /** Waits until what each client says is heard by the other. */
  const crosses = (clients, text) => until(`"${text}" crosses`, () => {
    clients.forEach((client, i) => client.emit(event, `${text} ${i}`));
    return clients.every((client, i) => said(client, `${text} ${1 - i}`) > 0);
  });

  /** Where the logs are. */
  const marks = ({ nodes }) => nodes.map(({ program }) => program.output.length);

  /** While Redis refuses, nodes name the reason, in the log behind these marks, serve their own clients and keep calm. */
  async function refused({ nodes, clients, ends }, kind, t, from) {
    const errors = async (node) => await node.metric("chorus_redis_publish_errors_total", { kind }) ?? 0;
    const before = await Promise.all(nodes.map(errors));
    const text = `${kind} ${before}`;
    clients.forEach((client) => client.emit(event, text));
    await until("each hears itself", () => clients.every((client) => said(client, text) === 1));
    for (const [i, node] of nodes.entries()) {
      await node.program.until(`an error of kind ${kind} that is counted`, async () => await errors(node) > before[i]);
      const named = [...records(node.program.output.slice(from[i]))].filter((record) => record.level === "ERROR" && record.kind === kind);
      assert.ok(named.length > 0, `the log of ${node.id} does not name ${kind}`);
    }
    const window = 2; // seconds in which nothing is asked of them
    const cpu = nodes.map(({ program }) => program.cpu);
    await new Promise((resolve) => setTimeout(resolve, window * 1000));
    for (const [i, { id, program }] of nodes.entries()) {
      assert.equal(program.ended, null);
      const used = (program.cpu - cpu[i]) / window;
      const said = program.output.slice(from[i]);
      const lines = said.split("\n").length;
      assert.ok(used < 0.1, `${id} used ${used} of a processor`);
      assert.ok(lines < 20, `${id} logged ${lines} lines:\n${said}`);
      t.diagnostic(`${id}, ${kind}: ${(100 * used).toFixed(1)} % of a processor, ${lines} lines of log`);
    }
    assert.deepEqual(ends, []);
  }

  test("a wrong password, from the start and later", async (t) => {
    const redis = await Redis.start("--requirepass", "right");
    const admin = await redis.client({ password: "right" });
    const world = await cast({ url: `redis://:wrong@127.0.0.1:${redis.port}` }, { ready: false });
    await refused(world, "auth", t, [0, 0]);
    for (const node of world.nodes) assert.ok(!await node.ready(), "it never had Redis");
    await admin.sendCommand(["CONFIG", "SET", "requirepass", "wrong"]);
    await crosses(world.clients, "let in");
    for (const node of world.nodes) assert.ok(await node.ready());
    const from = marks(world);
    await admin.sendCommand(["CONFIG", "SET", "requirepass", "another"]);
    for (const type of ["pubsub", "normal"]) await admin.sendCommand(["CLIENT", "KILL", "TYPE", type, "SKIPME", "yes"]);
    // What was under way then is lost with the connection.
    for (const node of world.nodes) await node.program.until("the loss of Redis", async () => await node.metric("chorus_redis_up") === 0);
    await refused(world, "auth", t, from);
    await admin.sendCommand(["CONFIG", "SET", "requirepass", "wrong"]);
    await crosses(world.clients, "let in again");
  });

  for (const [kind, refuse, take] of [
    ["oom", ["CONFIG", "SET", "maxmemory", "1"], ["CONFIG", "SET", "maxmemory", "0"]],
    ["readonly", ["REPLICAOF", "127.0.0.1", null], ["REPLICAOF", "NO", "ONE"]],
  ]) {
    test(kind, async (t) => {
      const world = await cast(await Redis.start(), { args: ["--adapter", "redis-streams"] });
      await crosses(world.clients, "before");
      const from = marks(world);
      const port = await freePort(); // where there is no master
      await world.redis.command(...refuse.map((word) => word ?? port));
      await refused(world, kind, t, from);
      await world.redis.command(...take);
      await crosses(world.clients, "after");
    });
  }
});
