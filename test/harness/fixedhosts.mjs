// What holds of every balancer in front of nodes on fixed hosts.
import assert from "node:assert/strict";
import { before, describe, test } from "node:test";
import { acquainted, Crowd, forwarded } from "./crowd.mjs";
import { Node } from "./node.mjs";
import { until } from "./program.mjs";
import { Redis } from "./redis.mjs";

// Each is the 12.5th part of what it is by default, and so is the balancers' idle time.
const heartbeat = { idle: 6, args: ["--ping-interval", "2s", "--ping-timeout", "1600ms"] };

const args = [...heartbeat.args, "--drain.lame-duck", "1500ms", "--drain.status", "404"];
const tags = ["n1", "n2", "n3"];
const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

/**
 * Tests a balancer. frozen are the reasons that the clients of a node report that stands still. A balancer that checks nobody
 * goes on sending requests of all sessions there when it has no affinity, so that all is well only when the node runs again.
 */
export function fixedHosts(Balancer, { frozen, checks }) {
  for (const affinity of [true, false]) {
    describe(affinity ? "by the tag in the session's id" : "without affinity", () => {
      let redis, nodes, balancer, crowd;

      before(async () => {
        redis = await Redis.start();
        nodes = await Promise.all(tags.map((id) => Node.serve(id, { redis, args })));
        await acquainted(nodes);
        balancer = await Balancer.start(nodes, { affinity, idle: heartbeat.idle });
        crowd = await Crowd.gather(balancer.url, 4);
      });

      test("clients of every way are spread over the nodes and hear each other", async () => {
        for (const tag of tags) assert.ok(crowd.on(tag).length > 0, `nobody is on ${tag}`);
        await crowd.everyoneHearsEveryone();
        crowd.undisturbed();
        const passed = await forwarded(nodes);
        if (affinity) assert.equal(passed, 0, "every request came to the node of its session");
        else assert.ok(passed > 0, "requests came to any node");
      });

      test("connections may be idle for longer than the balancer's patience, and live through its reload", async () => {
        await pause(1000 * heartbeat.idle / 2);
        await balancer.reload();
        await pause(1000 * heartbeat.idle);
        await crowd.everyoneHearsEveryone();
        crowd.undisturbed();
        if (affinity) assert.equal(await forwarded(nodes), 0);
      });

      test("a node that gets SIGTERM hands its clients to the others", async () => {
        const [leaving] = nodes;
        const moving = crowd.on(leaving.id);
        const stopped = leaving.stop("SIGTERM", 20_000);
        await until("it drains", async () => (await fetch(`${leaving.internal}/readyz`)).status === 404);
        const newcomers = await Crowd.gather(balancer.url, 1);
        assert.deepEqual([newcomers.on(leaving.id), newcomers.clients.flatMap(({ errors }) => errors)], [[], []], "newcomers find another node");
        newcomers.leave();
        assert.deepEqual(await stopped, { code: 0, signal: null });
        if (affinity) await crowd.comesBack(moving, ["transport close"], leaving.id);
        else await crowd.recovers(["transport close", "transport error"], leaving.id);

        nodes[0] = await Node.serve(leaving.id, { redis, args, place: leaving });
        await acquainted(nodes);
        await balancer.up?.(nodes);
      });

      test("clients of a node that is killed come back on another", async () => {
        const [, killed] = nodes;
        const moving = crowd.on(killed.id);
        await killed.stop("SIGKILL");
        if (affinity) await crowd.comesBack(moving, ["transport close", "transport error"], killed.id);
        else await crowd.recovers(["transport close", "transport error"], killed.id);

        nodes[1] = await Node.serve(killed.id, { redis, args, place: killed });
        await acquainted(nodes);
        await balancer.up?.(nodes);
      });

      test("clients of a node that stands still come back on another", async () => {
        const [, , still] = nodes;
        const moving = crowd.on(still.id);
        await still.program.freeze();
        if (affinity) await crowd.comesBack(moving, frozen, still.id);
        else if (checks) await crowd.recovers(frozen, still.id);
        else await until("somebody notices", () => crowd.clients.some(({ ends }) => ends.length > 0));
        still.program.signal("SIGCONT");
        await until("all are connected", () => crowd.clients.every(({ connected }) => connected));
        await crowd.everyoneHearsEveryone();
      });
    });
  }
}
