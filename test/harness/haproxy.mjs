// HAProxy with the configurations from deploy/, their addresses replaced by those of the test.
import { readdirSync, readFileSync, readlinkSync } from "node:fs";
import { configure } from "./configuration.mjs";
import { freePort, installed, Program } from "./program.mjs";

export class HAProxy {
  #internal;
  #path;

  /**
   * Starts static.cfg in front of three nodes. Without affinity it sends every request to the next node, whatever session it is for.
   * idle, in seconds, replaces the time for which a connection may be silent.
   */
  static async start(nodes, { affinity = true, idle } = {}) {
    const changes = nodes.map((node, i) => [
      `server ${node.id} 192.0.2.${i + 1}:3000`, `server ${node.id} ${new URL(node.url).host} port ${new URL(node.internal).port}`,
    ]);
    if (!affinity) changes.push([/balance leastconn/, "balance roundrobin"], [/^ +use-server .*\n/gm, ""]);
    const proxy = new HAProxy();
    await proxy.#start("static.cfg", idle, changes);
    await proxy.up(nodes);
    return proxy;
  }

  /** Starts haproxy.cfg, which finds the nodes by a name server. All of them have these ports. */
  static async discover(dns, { port, internal, idle, changes = [] }) {
    const proxy = new HAProxy();
    await proxy.#start("haproxy.cfg", idle, [
      [/parse-resolv-conf/, `nameserver test 127.0.0.1:${dns.port}`],
      [/node:3000 check port 9464/, `node:${port} check port ${internal}`],
      [/peer balancer 127.0.0.1:10024/, `peer balancer 127.0.0.1:${await freePort()}`],
      ...changes,
    ]);
    return proxy;
  }

  async #start(file, idle, changes) {
    const [port, internal] = [await freePort(), await freePort()];
    const { path } = configure(`haproxy/${file}`, [
      [/bind :8080/, `bind 127.0.0.1:${port}`], [/bind (127.0.0.1)?:8404/, `bind 127.0.0.1:${internal}`], ...changes,
      ...(idle ? [[/timeout client 75s/, `timeout client ${idle}s`], [/timeout server 75s/, `timeout server ${idle}s`]] : []),
    ]);
    this.url = `http://127.0.0.1:${port}`;
    this.#internal = `http://127.0.0.1:${internal}`;
    this.#path = path;
    this.#run();
    await this.program.until("an answer", async () => (await this.#ask("/healthz"))?.ok);
  }

  #run(...args) {
    this.program = new Program("haproxy", installed("haproxy", "haproxy"), ["-db", "-n", "1000", "-f", this.#path, ...args]);
  }

  async #ask(path) {
    try {
      return await fetch(this.#internal + path);
    } catch {
      return undefined; // it does not listen yet
    }
  }

  /** How many nodes it takes for healthy. */
  async #healthy() {
    const text = await (await this.#ask("/metrics"))?.text() ?? "";
    return [...text.matchAll(/^haproxy_server_status\{proxy="nodes",server="[^"]*",state="UP"\} 1$/gm)].length;
  }

  /** Waits until it sends clients to as many nodes as these. */
  up(nodes) {
    return this.program.until(`${nodes.length} healthy nodes`, async () => await this.#healthy() === nodes.length);
  }

  /** Starts a new process that takes over the address; the old one goes on with the connections that it has. Returns the old one. */
  async reload() {
    const old = this.program;
    this.#run("-sf", String(old.child.pid));
    await this.program.until("the old process no longer listens", () => !listens(old));
    return old;
  }
}

/** Whether a program waits for connections of TCP. */
function listens({ child: { pid }, ended }) {
  if (ended) return false;
  const sockets = new Set(readdirSync(`/proc/${pid}/fd`).map((fd) => {
    try {
      return /^socket:\[(\d+)\]$/.exec(readlinkSync(`/proc/${pid}/fd/${fd}`))?.[1];
    } catch {
      return undefined; // closed meanwhile
    }
  }));
  const listening = "0A";
  return readFileSync("/proc/net/tcp", "utf8").split("\n").map((line) => line.trim().split(/\s+/))
    .some(([, , , state, , , , , , inode]) => state === listening && sockets.has(inode));
}
