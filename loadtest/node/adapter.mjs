// The Node.js peer of `loadtest adapters`: one end of an adapter, without clients.
// Arguments: classic | sharded | streams, publish | receive, URL of Redis, messages, messages per second, bytes of each.
import { createInterface } from "node:readline";
import { createAdapter, createShardedAdapter } from "@socket.io/redis-adapter";
import { createAdapter as createStreamsAdapter } from "@socket.io/redis-streams-adapter";
import { createClient } from "redis";
import { Server } from "socket.io";
import { Adapter } from "socket.io-adapter";

const [mode, role, url, messages, rate, size] = process.argv.slice(2).map((arg, i) => (i > 2 ? Number(arg) : arg));
const publisher = await createClient({ url }).connect();
const subscriber = await publisher.duplicate().connect();
const adapters = {
  classic: () => createAdapter(publisher, subscriber),
  sharded: () => createShardedAdapter(publisher, subscriber),
  streams: () => createStreamsAdapter(publisher, { maxLen: 100_000 }),
};
const io = new Server({ adapter: adapters[mode]() });
io.of("/");

const say = (what) => process.stdout.write(`${JSON.stringify(what)}\n`);
let [began, received] = [undefined, 0];
const spent = () => {
  const { user, system } = process.cpuUsage(began);
  return user + system;
};
const go = new Promise((resolve) => createInterface({ input: process.stdin }).once("line", () => {
  began = process.cpuUsage();
  resolve();
}));

if (role === "receive") {
  let ready = false;
  // What every adapter calls for what it received.
  Adapter.prototype.broadcast = ({ data: [event] }) => {
    if (!ready) say({ ready: true });
    ready = true;
    if (event === "message" && ++received === messages) say({ messages: received, cpu_us: spent() });
  };
} else {
  Adapter.prototype.broadcast = () => {}; // there are no clients
  const warm = setInterval(() => io.emit("warm"), 50);
  await go;
  clearInterval(warm);
  const payload = "x".repeat(size);
  const start = performance.now();
  for (let sent = 0; sent < messages;) {
    const due = Math.min(messages, Math.floor((performance.now() - start) * rate / 1000));
    for (; sent < due; sent++) io.emit("message", payload);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  await publisher.ping();
  say({ messages, cpu_us: spent() });
}
