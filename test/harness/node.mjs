// Nodes: processes of the program and of the test's own application, on ports that the system chooses.
import { fileURLToPath } from "node:url";
import { installed, Program } from "./program.mjs";

const chorus = process.env.CHORUS_BIN || fileURLToPath(new URL("../../bin/chorus", import.meta.url));
const application = fileURLToPath(new URL("../../build/testapp", import.meta.url));

const referenceApplication = fileURLToPath(new URL("../app/node.mjs", import.meta.url));

export const programPath = () => {
  try {
    return installed(chorus);
  } catch {
    throw new Error(`${chorus} is missing: make build`);
  }
};

/** The records of a JSON log. */
export function* records(output) {
  for (const line of output.split("\n")) {
    if (line.startsWith("{") && line.endsWith("}")) yield JSON.parse(line);
  }
}

export class Node {
  /** Starts `chorus serve` and waits until it is ready, or else just listens. In the place of another node it has that one's addresses. */
  static async serve(id, { redis, args = [], ready = true, place, ...options } = {}) {
    const [addr, internal] = place ? [place.url, place.internal].map((url) => new URL(url).host) : ["127.0.0.1:0", "127.0.0.1:0"];
    const node = new Node(id, programPath(), [
      "serve", "--addr", addr, "--internal-addr", internal, "--node.id", id, "--node.route-tag", id,
      "--log.format", "json", ...(redis ? ["--redis.url", redis.url] : []), ...args,
    ], options);
    const listening = await node.#listening();
    node.url = `http://${[listening.addr].flat()[0]}`;
    node.internal = `http://${[listening.internal_addr].flat()[0]}`;
    if (ready) await node.program.until("readiness", () => node.ready());
    return node;
  }

  /** Starts the application in test/app, or with reference the same one on the Node server. */
  static async application(id, { redis, reference = false, args = [], ...options } = {}) {
    const command = reference ? [process.execPath, referenceApplication] : [installed(application, "(make test builds it)")];
    const node = new Node(id, command[0], [...command.slice(1), "--tag", id, ...(redis ? ["--redis", redis.url] : []), ...args], options);
    node.url = node.internal = `http://${(await node.#listening()).addr}`;
    await node.program.until("readiness", () => node.program.output.includes('"msg":"ready"'));
    return node;
  }

  constructor(id, command, args, options) {
    this.id = id;
    this.program = new Program(id, command, args, options);
  }

  #listening() {
    return this.program.until("its addresses", () => [...records(this.program.output)].find((r) => r.msg === "listening"));
  }

  get log() {
    return [...records(this.program.output)];
  }

  async ready() {
    const response = await fetch(`${this.internal}/readyz`);
    await response.text();
    return response.ok;
  }

  /** The sum of a metric's series that carry all the given labels; undefined if there is none. */
  async metric(name, labels = {}) {
    const text = await (await fetch(`${this.internal}/metrics`)).text();
    let sum;
    for (const line of text.split("\n")) {
      const match = /^([a-z0-9_]+)(\{.*\})? (\S+)$/.exec(line);
      if (match?.[1] !== name) continue;
      if (Object.entries(labels).every(([key, value]) => match[2]?.includes(`${key}="${value}"`))) sum = (sum ?? 0) + Number(match[3]);
    }
    return sum;
  }

  stop(signal, timeout) {
    return this.program.stop(signal, timeout);
  }
}
