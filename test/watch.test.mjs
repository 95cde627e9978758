// What operators watch: a cluster of Redis, three nodes and HAProxy, scraped by Prometheus, with the rules and the dashboard of deploy/, and
// what of it shows when nodes are restarted or lost.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { after, before, test } from "node:test";
import { connect, heard, ways } from "./harness/client.mjs";
import { HAProxy } from "./harness/haproxy.mjs";
import { Node } from "./harness/node.mjs";
import { until } from "./harness/program.mjs";
import { Prometheus, quickly } from "./harness/prometheus.mjs";
import { Redis } from "./harness/redis.mjs";

const event = "chat message";
// HAProxy needs two seconds to see that a node is not ready.
const args = [
  "--ping-interval", "1s", "--drain.lame-duck", "2500ms", "--drain.spread", "1s", "--drain.timeout", "10s", "--drain.status", "404",
];
let redis, nodes, proxy, prometheus, native, clients, chatter;

const host = (node) => new URL(node.internal).host;
const dashboard = JSON.parse(readFileSync(new URL("../deploy/grafana/dashboards/chorus.json", import.meta.url), "utf8"));

/** All queries of the dashboard as Grafana sends them with everything chosen: {title, expr, legend}. */
const queries = dashboard.panels.flatMap(({ title, targets = [] }) => targets.map(({ expr, legendFormat: legend }) => ({
  title,
  legend,
  expr: expr.replaceAll("$__rate_interval", `${quickly(60)}ms`).replaceAll("$job", "chorus").replaceAll(/\$(instance|namespace)/g, ".*"),
})));

// What has nothing to show in a healthy cluster without streams, whose application asks clients for no acknowledgement.
const quiet = new Set([
  "Alerts: {{alertname}} ({{severity}})", "Lost on the way in: stream {{cause}}", "Behind the stream: {{instance}}",
  "Time until the acknowledgement: p50", "Time until the acknowledgement: p90", "Time until the acknowledgement: p99",
]);

/** Each query of the dashboard is answered, and each but the quiet ones has something to show. */
async function showsEverything(source) {
  const results = await Promise.all(queries.map(async (query) => ({ ...query, series: await source.range(query.expr, 10) })));
  const empty = results.filter(({ series }) => series.length === 0).map(({ title, legend }) => `${title}: ${legend}`);
  assert.deepEqual(empty.filter((line) => !quiet.has(line)), [], "lines without data");
  for (const { title, legend, series } of results) {
    for (const [, label] of (legend ?? "").matchAll(/{{(\w+)}}/g)) {
      if (label === "le" && source === native) continue; // a native histogram has no such label
      for (const { metric } of series) assert.ok(label in metric, `${title}: ${legend} of ${JSON.stringify(metric)}`);
    }
  }
}

/** What a figure of the dashboard's first row shows. */
async function figure(title, source = prometheus) {
  const [{ value }] = await source.query(queries.find((query) => query.title === title).expr);
  return Number(value[1]);
}

before(async () => {
  redis = await Redis.start();
  nodes = await Promise.all(["n1", "n2", "n3"].map((id) => Node.serve(id, { redis, args })));
  proxy = await HAProxy.start(nodes);
  clients = [];
  for (let i = 0; i < 3; i++) for (const way of Object.keys(ways)) clients.push(await connect(proxy.url, way));
  chatter = setInterval(() => clients.forEach((client) => client.connected && client.emit(event, "hello")), 100);
  [prometheus, native] = await Promise.all([Prometheus.start(nodes), Prometheus.start(nodes, { native: true })]);
});
after(() => clearInterval(chatter));

test("the dashboard shows a healthy cluster, from classic histograms and from native ones", async () => {
  await until("five minutes of the rules' time are recorded", async () => {
    const [counted] = await prometheus.query("count_over_time(job:chorus_up:count[1m])");
    return Number(counted?.value[1]) >= quickly(300) / 1000;
  });
  await showsEverything(prometheus);
  await showsEverything(native);
  for (const source of [prometheus, native]) {
    assert.equal(await figure("Nodes up", source), 3);
    assert.equal(await figure("Connections", source), clients.length);
    assert.equal(await figure("Redis", source), 1);
    assert.equal(await figure("Drops", source), 0);
    assert.ok(await figure("Events in", source) > clients.length, "each sends ten a second");
    assert.ok(await figure("Deliveries", source) > clients.length * clients.length);
    assert.ok(await figure("Delivery p99", source) > 0);
  }
});

// What fires when this machine is busy with other things.
const slowness = /^(BroadcastLatencyHigh|CPUSaturated|SchedulerLatencyHigh) /;
const faults = async (source) => (await source.firing()).filter((alert) => !slowness.test(alert));

/** Waits until every client is connected and has heard what another one says now. */
async function everyoneIsBack() {
  await until(() => `all are back: ${clients.filter(({ connected }) => !connected).map(({ label }) => label)}`, () => clients.every(({ connected }) => connected));
  const word = `word ${Date.now()}`;
  clients[0].emit(event, word);
  await until("all hear each other", () => clients.every((client) => heard(client, event).some(([said]) => said === word)));
}

test("no alert fires while all is well", async () => {
  assert.deepEqual(await faults(prometheus), []);
  assert.deepEqual(await faults(native), []);
});

test("NodeDown fires for a node that is killed, and its clients are back", async () => {
  const [killed] = nodes;
  const moving = clients.filter((client) => client.io.engine.id.startsWith(`${killed.id}_`));
  assert.ok(moving.length > 0);
  let lost = 0;
  for (const client of moving) client.once("disconnect", () => lost++);
  await killed.stop("SIGKILL");
  await until("its clients notice", () => lost === moving.length);
  await everyoneIsBack();
  await until("an alert", async () => (await faults(prometheus)).length > 0);
  assert.deepEqual(await faults(prometheus), [`NodeDown ${host(killed)}`]);
});

test("RedisDisconnected fires for every node when Redis stops, and ends when it is back", async () => {
  const left = nodes.slice(1);
  const lost = left.map((node) => `RedisDisconnected ${host(node)}`).sort();
  const disconnected = async () => (await prometheus.firing()).filter((alert) => alert.startsWith("RedisDisconnected"));
  await redis.stop();
  await until("RedisDisconnected", async () => (await disconnected()).length === left.length);
  assert.deepEqual(await disconnected(), lost);
  assert.equal(await figure("Redis"), 0);
  await redis.restart();
  await until("the end of RedisDisconnected", async () => (await disconnected()).length === 0);
});

test("a rolling restart under load: every client is back, and no alert fires", async () => {
  nodes[0] = await Node.serve(nodes[0].id, { redis, args, place: nodes[0] }); // that was killed
  native.target(nodes);
  await proxy.up(nodes);
  for (const source of [prometheus, native]) await until("no alert fires any more", async () => (await faults(source)).length === 0, 90_000);
  const begin = Date.now();
  for (const [i, node] of nodes.entries()) {
    assert.deepEqual(await node.stop("SIGTERM"), { code: 0, signal: null });
    nodes[i] = await Node.serve(node.id, { redis, args, place: node });
    await proxy.up(nodes);
  }
  await everyoneIsBack();
  for (const source of [prometheus, native]) {
    await until("all nodes and clients are seen again", async () => (
      await figure("Nodes up", source) === 3 && await figure("Connections", source) === clients.length));
    const seen = Math.floor((Date.now() - begin) / 1000);
    const [{ value }] = await source.query(`sum(max_over_time(chorus_draining[${seen}s]))`);
    assert.equal(Number(value[1]), 3, "each was seen to drain");
    const fired = await source.range('ALERTS{alertstate="firing"}', seen);
    assert.deepEqual(fired.map(({ metric }) => `${metric.alertname} ${metric.instance}`).filter((alert) => !slowness.test(alert)), []);
  }
});
