// The network between one client and its server, which a test can cut, freeze, or lead to another server.
import { connect, createServer } from "node:net";
import { after } from "node:test";
import { until } from "./program.mjs";

const wires = new Set();
after(() => wires.forEach((wire) => wire.close()));

export class Wire {
  #pairs = new Set();
  #frozen = false;
  #busy = 0; // when something was last under way

  static async to(node) {
    const wire = new Wire();
    wire.node = node; // undefined: nobody is there
    wire.server = createServer({ allowHalfOpen: true }, (client) => wire.#join(client));
    await new Promise((resolve, reject) => wire.server.once("error", reject).listen(0, "127.0.0.1", resolve));
    wire.url = `http://127.0.0.1:${wire.server.address().port}`;
    wires.add(wire);
    return wire;
  }

  #join(client) {
    if (!this.node) return client.destroy();
    const { hostname, port } = new URL(this.node.url);
    const server = connect({ host: hostname, port, noDelay: true, allowHalfOpen: true });
    client.setNoDelay();
    const pair = [client, server];
    this.#pairs.add(pair);
    pair.forEach((from, i) => {
      const to = pair[1 - i];
      from.on("data", (data) => {
        this.#busy = Date.now();
        if (!this.#frozen) to.write(data);
      });
      from.on("end", () => { if (!this.#frozen) to.end(); });
      from.on("error", () => {}); // the close that follows tells
      from.on("close", (failed) => {
        if (failed && !this.#frozen) to.destroy();
        this.#pairs.delete(pair);
      });
    });
  }

  /** Waits until nothing is under way, but for a poll that waits. */
  quiet() {
    return until("quiet", () => Date.now() - this.#busy > 100);
  }

  /** Both sides see their connections end, and new ones are refused until lead(). */
  cut() {
    this.node = undefined;
    for (const pair of this.#pairs) for (const socket of pair) socket.destroy();
  }

  /** New connections lead to this node, and get through. */
  lead(node) {
    this.node = node;
    this.#frozen = false;
  }

  /** Nothing gets through any more, and nobody is told. */
  freeze() {
    this.#frozen = true;
  }

  close() {
    this.#frozen = false;
    this.cut();
    this.server.close();
    wires.delete(this);
  }
}
