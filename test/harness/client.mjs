// Official clients that remember what they hear.
import { after } from "node:test";
import { io } from "socket.io-client";
import { until } from "./program.mjs";

const open = new Set();
after(() => open.forEach(({ io: manager }) => {
  manager.reconnection(false);
  manager.engine.close(); // with all its namespaces
}));

/** How a client can reach a server. */
export const ways = {
  polling: { transports: ["polling"] },
  websocket: { transports: ["websocket"] },
  upgrade: {}, // polling, then WebSocket
};

/** Connects a client in one of the ways; with upgrade it is connected once the upgrade is done. It is closed with the tests of the file at the latest. */
export async function connect(url, way = "websocket", options = {}) {
  const client = io(url, { ...ways[way], forceNew: true, reconnectionDelay: 100, reconnectionDelayMax: 500, ...options });
  open.add(client);
  client.heard = []; // [event, ...arguments]
  client.onAny((...event) => client.heard.push(event));
  client.label = `${way} client of ${url}`;
  let failure;
  client.on("connect_error", (error) => { failure = error; });
  await until(() => `${client.label} is connected (${failure?.message}, ${failure?.description})`, () => client.connected);
  if (way === "upgrade") await until(`${client.label} has upgraded`, () => client.io.engine.transport.name === "websocket");
  return client;
}

/** One client of each way on each node. */
export async function connectAll(nodes, options) {
  const clients = nodes.flatMap((node) => Object.keys(ways).map((way) => connect(node.url, way, options)));
  return Promise.all(clients);
}

/** The arguments of the events of this name that the client heard. */
export const heard = (client, name) => client.heard.filter(([event]) => event === name).map(([, ...args]) => args);

/** Waits until each client heard count events of this name. */
export async function hear(clients, name, count, timeout = 30_000) {
  const missing = () => clients.filter((client) => heard(client, name).length < count);
  const what = () => missing().map((client) => `${client.label} heard ${heard(client, name).length} of ${count} "${name}"`).join(", ");
  await until(what, () => missing().length === 0, timeout);
}

/** Binary as it arrives, made comparable: Node's client gives Buffers for what was sent as typed array. */
export function plain(value) {
  if (value instanceof ArrayBuffer) return Buffer.from(value);
  if (ArrayBuffer.isView(value)) return Buffer.from(value.buffer, value.byteOffset, value.byteLength);
  if (Array.isArray(value)) return value.map(plain);
  if (value && typeof value === "object") return Object.fromEntries(Object.entries(value).map(([k, v]) => [k, plain(v)]));
  return value;
}
