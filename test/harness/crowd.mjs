// Official clients of every way behind a balancer, which remember how their connections ended.
import assert from "node:assert/strict";
import { connect, hear, heard, ways } from "./client.mjs";
import { until } from "./program.mjs";

const event = "chat message";

/** The route tag of the node that a client is on. */
export const tagOf = (client) => client.io.engine.id?.split("_")[0];

export class Crowd {
  clients = [];

  /** Connects so many clients of each way, one after the other: some balancers count the connections that are there. */
  static async gather(url, size) {
    const crowd = new Crowd();
    for (let i = 0; i < size; i++) for (const way of Object.keys(ways)) await crowd.add(url, way);
    return crowd;
  }

  async add(url, way) {
    const client = await connect(url, way);
    client.ends = [];
    client.errors = [];
    client.on("disconnect", (reason) => client.ends.push(reason));
    client.on("connect_error", (error) => client.errors.push(`${error.message} (${error.description})`));
    this.clients.push(client);
    return client;
  }

  on = (tag) => this.clients.filter((client) => tagOf(client) === tag);

  /** Every client says something, and every client hears each of it once, in order. */
  async everyoneHearsEveryone() {
    const { clients } = this;
    for (const client of clients) client.heard = [];
    for (let i = 0; i < 3; i++) clients.forEach((client, sender) => client.emit(event, sender, i));
    await hear(clients, event, 3 * clients.length);
    const expected = clients.flatMap((_, sender) => [0, 1, 2].map((i) => `${sender}/${i}`)).sort();
    for (const client of clients) {
      const all = heard(client, event).map(([sender, i]) => `${sender}/${i}`);
      assert.deepEqual(all.toSorted(), expected, client.label);
      for (const [sender] of clients.entries()) {
        assert.deepEqual(all.filter((each) => each.startsWith(`${sender}/`)).map((each) => each.at(-1)), ["0", "1", "2"], client.label);
      }
    }
  }

  /** No connection ended or failed since the last settled(). */
  undisturbed(clients = this.clients) {
    for (const client of clients) assert.deepEqual([client.ends, client.errors], [[], []], `${client.label} on ${tagOf(client)}`);
  }

  /**
   * Waits until these clients, and no others, have lost their connection once, for one of these reasons, and are back on a node that is
   * not this one.
   */
  async comesBack(moving, reasons, tag) {
    const back = (client) => client.ends.length > 0 && client.connected && tagOf(client) !== tag;
    await until(() => `back: ${moving.filter((client) => !back(client)).map((client) => `${client.label} ${client.ends}`)}`, () => moving.every(back));
    await this.everyoneHearsEveryone();
    for (const client of moving) {
      assert.equal(client.ends.length, 1, `${client.label} lost its connection once: ${client.ends}`);
      assert.ok(reasons.includes(client.ends[0]), `${client.label}: ${client.ends}`);
    }
    this.undisturbed(this.clients.filter((client) => !moving.includes(client)));
    this.settled();
  }

  /**
   * Waits until nobody is on this node any more and everyone hears everyone. Whoever lost a connection did so for one of these reasons,
   * and not again and again: one that passed through the lost node may be a client's second.
   */
  async recovers(reasons, tag) {
    const { clients } = this;
    await until(() => `nobody on ${tag}: ${this.on(tag).map(({ label }) => label)}`, () => clients.every((client) => client.connected && tagOf(client) !== tag));
    await this.everyoneHearsEveryone();
    for (const client of clients) {
      assert.ok(client.ends.length <= 2 && client.ends.every((reason) => reasons.includes(reason)), `${client.label}: ${client.ends}`);
    }
    this.settled();
  }

  /** Forgets what has happened. */
  settled() {
    for (const client of this.clients) [client.ends, client.errors] = [[], []];
  }

  leave() {
    for (const client of this.clients) client.disconnect();
    this.clients = [];
  }
}

/** How many requests these nodes have passed on to each other. */
export async function forwarded(nodes) {
  const counts = await Promise.all(nodes.map((node) => node.metric("chorus_requests_forwarded_total")));
  return counts.reduce((a, b) => a + (b ?? 0), 0);
}

/** Waits until each of these nodes can pass requests on to all the others. */
export const acquainted = (nodes) => until("all nodes know each other", async () => {
  const reachable = await Promise.all(nodes.map((node) => node.metric("chorus_forward_nodes")));
  return reachable.every((n) => n === nodes.length - 1);
});
