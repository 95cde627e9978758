// Real Redis servers on free ports, without persistence: one, a cluster of masters, or a master and its replica with a Sentinel.
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createConnection } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after } from "node:test";
import { createClient } from "redis";
import { freePort, installed, Program, until } from "./program.mjs";

const host = "127.0.0.1";
const open = new Set();
const folders = new Set();
after(() => {
  for (const client of open) if (client.isOpen) client.destroy();
  for (const folder of folders) rmSync(folder, { recursive: true, force: true });
});

function folder() {
  const path = mkdtempSync(join(tmpdir(), "chorus-redis-"));
  folders.add(path);
  return path;
}

export class Redis {
  #args;
  #client;

  static async start(...args) {
    const redis = new Redis();
    redis.#args = ["--dir", folder(), ...args];
    redis.port = await freePort();
    redis.url = `redis://${host}:${redis.port}`;
    await redis.restart();
    return redis;
  }

  /** Starts the server on its port; it must not be running. */
  async restart() {
    const args = ["--port", this.port, "--bind", host, "--save", "", "--appendonly", "no", ...this.#args];
    this.program = new Program(`redis-server :${this.port}`, installed("redis-server", "redis-server"), args.map(String));
    await this.program.until("an answer", () => this.#answers());
  }

  stop() {
    return this.program.stop("SIGKILL");
  }

  /** The client of the test itself, connected anew with each start of the server. It ends with the tests of the file at the latest. */
  async client(options = {}) {
    if (this.#client?.isReady) return this.#client;
    if (this.#client?.isOpen) this.#client.destroy();
    open.delete(this.#client);
    this.#client = createClient({ url: this.url, socket: { reconnectStrategy: false }, RESP: 2, ...options }).on("error", () => {});
    await this.#client.connect();
    open.add(this.#client);
    return this.#client;
  }

  /** Sends a command and returns the answer. */
  async command(...args) {
    return (await this.client()).sendCommand(args.map((arg) => (typeof arg === "number" ? String(arg) : arg)));
  }

  /** The number of subscribers of each channel that has one. */
  async subscribers() {
    const channels = await this.command("PUBSUB", "CHANNELS");
    const counts = channels.length > 0 ? await this.command("PUBSUB", "NUMSUB", ...channels) : [];
    return new Map(channels.map((_, i) => [counts[2 * i], counts[2 * i + 1]]));
  }

  #answers() {
    return new Promise((resolve) => {
      const socket = createConnection(this.port, host, () => socket.write("PING\r\n"));
      socket.once("data", (reply) => { socket.destroy(); resolve(/^(\+PONG|-NOAUTH)/.test(reply)); });
      socket.once("error", () => resolve(false));
    });
  }
}

const slots = 16384;

/** A Redis Cluster of masters without replicas. */
export class RedisCluster {
  #epoch = 0;

  static async start(size = 3) {
    const cluster = new RedisCluster();
    cluster.masters = await Promise.all(Array.from({ length: size }, () => cluster.#server()));
    cluster.url = cluster.masters[0].url;
    await Promise.all(cluster.masters.map((master, i) => master.command(
      "CLUSTER", "ADDSLOTSRANGE", Math.ceil(i * slots / size), Math.ceil((i + 1) * slots / size) - 1,
    )));
    await cluster.#meet(cluster.masters.slice(1));
    return cluster;
  }

  async #server() {
    const bus = await freePort();
    const redis = await Redis.start("--cluster-enabled", "yes", "--cluster-port", bus);
    redis.bus = bus;
    redis.id = await redis.command("CLUSTER", "MYID");
    // Whose epoch is higher has a slot that two claim. So the newest gets slots for good, whatever was under way of the one that had them.
    await redis.command("CLUSTER", "SET-CONFIG-EPOCH", ++this.#epoch);
    return redis;
  }

  /** Makes servers known to all, and waits until all agree. */
  async #meet(newcomers) {
    for (const each of newcomers) await this.masters[0].command("CLUSTER", "MEET", host, each.port, each.bus);
    await until("the masters know each other", async () => {
      const states = await Promise.all(this.masters.map((master) => master.command("CLUSTER", "INFO")));
      return states.every((state) => state.includes("cluster_state:ok") && state.includes(`cluster_known_nodes:${this.masters.length}`));
    });
  }

  /** Adds a master without slots. */
  async grow() {
    const master = await this.#server();
    this.masters.push(master);
    await this.#meet([master]);
    return master;
  }

  /** The master of a channel's slot. */
  async masterOf(channel) {
    const slot = await this.masters[0].command("CLUSTER", "KEYSLOT", channel);
    for (const [first, last, [, port]] of await this.masters[0].command("CLUSTER", "SLOTS")) {
      if (first <= slot && slot <= last) return this.masters.find((master) => master.port === port);
    }
    throw new Error(`nobody has slot ${slot}`);
  }

  /** Gives all slots of one master but one, which must hold no keys, to another. Without any it would become a replica. */
  async move(from, to) {
    const moved = [];
    for (const [first, last, [, port]] of await from.command("CLUSTER", "SLOTS")) {
      if (port === from.port) for (let slot = first; slot <= last; slot++) moved.push(String(slot));
    }
    moved.shift();
    // Who loses them hears it last, and tells its subscribers: then they find the other one, whomever they ask.
    for (const master of [to, ...this.masters.filter((each) => each !== to && each !== from), from]) {
      const client = await master.client();
      await Promise.all(moved.map((slot) => client.sendCommand(["CLUSTER", "SETSLOT", slot, "NODE", to.id])));
    }
  }
}

/** A master and its replica, with a Sentinel that makes the replica the master when the master is silent. */
export class Sentinels {
  static name = "chorus";

  static async start() {
    const set = new Sentinels();
    const home = folder();
    set.master = await Redis.start();
    set.replica = await Redis.start("--replicaof", host, set.master.port, "--repl-diskless-sync-delay", 0);
    set.port = await freePort();
    const file = join(home, "sentinel.conf");
    writeFileSync(file, [
      `port ${set.port}`, `bind ${host}`, `dir ${home}`, `sentinel monitor ${this.name} ${host} ${set.master.port} 1`,
      `sentinel down-after-milliseconds ${this.name} 500`, `sentinel failover-timeout ${this.name} 2000`, "",
    ].join("\n"));
    set.program = new Program("sentinel", installed("redis-server", "redis-server"), [file, "--sentinel"]);
    set.url = `redis://${host}:${set.port}?addr=${host}:${set.port}&master_name=${this.name}`;
    set.watcher = createClient({ url: `redis://${host}:${set.port}`, RESP: 2 }).on("error", () => {});
    open.add(set.watcher);
    await set.watcher.connect();
    await set.program.until("a replica", async () => (await set.watcher.sendCommand(["SENTINEL", "REPLICAS", this.name])).flat().join(" ").includes("master-link-status ok"));
    return set;
  }

  /** The port of the server that the Sentinel calls the master. */
  async masterPort() {
    return Number((await this.watcher.sendCommand(["SENTINEL", "GET-MASTER-ADDR-BY-NAME", Sentinels.name]))[1]);
  }

  /** Kills the master and waits until its replica has taken over. */
  async fail() {
    await this.master.stop();
    await until("the replica is the master", async () => await this.masterPort() === this.replica.port);
  }
}
