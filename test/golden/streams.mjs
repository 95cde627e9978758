// Writes what official servers with the streams adapter, and the official emitter, say over a real Redis into JSON files
// beside the Go tests that read them. Run by `make golden`, needs redis-server; the files are committed.
import { readFileSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import { createRequire } from "node:module";
import { createClient } from "redis";
import { createAdapter } from "@socket.io/redis-streams-adapter";
import { Emitter } from "@socket.io/redis-emitter";
import { Server } from "socket.io";
import { io as connect } from "socket.io-client";
import { Redis } from "../harness/redis.mjs";

const require = createRequire(import.meta.url);
const crypto = require("node:crypto");
const version = (name) => JSON.parse(readFileSync(new URL(`../node_modules/${name}/package.json`, import.meta.url))).version;

// Names are made of random bytes: a counter in their place keeps the files the same from run to run.
let counter = 0;
crypto.randomBytes = (n) => { const b = Buffer.alloc(n); b.writeUInt32BE(++counter, n - 4); return b; };

const redis = await Redis.start();
async function client() {
  const c = createClient({ url: redis.url });
  c.on("error", () => {}); // Redis ends before us
  await c.connect();
  return c;
}
const control = await client();
const listener = await client();
let said = [];
await listener.pSubscribe("*", (payload, channel) => {
  const text = payload.toString();
  said.push(payload[0] === 0x7b ? { channel: channel.toString(), text } : { channel: channel.toString(), hex: payload.toString("hex") });
}, true);
const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

async function server() {
  const http = createServer();
  const io = new Server(http, { adapter: createAdapter(await client()), connectionStateRecovery: {}, pingInterval: 100000 });
  io.on("connection", (socket) => { socket.join("r1"); socket.data = { name: "Ünn", bin: Buffer.from([1, 255]), list: [1, -2.5, null, true] }; });
  io.of("/admin").on("connection", () => {});
  await new Promise((resolve) => http.listen(0, "127.0.0.1", resolve));
  io.port = http.address().port;
  return io;
}

const entries = [], published = [];
let last = "0";
async function entry(name, act) {
  await act();
  await pause(30);
  for (const { id, message } of await control.xRange("socket.io", last === "0" ? "-" : `(${last}`, "+")) {
    last = id;
    entries.push({ name, ...message });
  }
}
async function messages(name, count, act) {
  said = [];
  const done = act();
  for (const deadline = Date.now() + 5000; said.length < count; await pause(10)) if (Date.now() > deadline) throw new Error(`${name}: ${said.length}`);
  await done;
  said.slice(0, count).forEach((s, i) => published.push({ name: count > 1 ? `${name} ${i + 1}` : name, ...s }));
}

const a = await server(), b = await server();
await pause(200);
const socket = connect(`http://127.0.0.1:${b.port}`, { transports: ["websocket"], reconnection: false });
socket.on("q", (...args) => args.pop()(args[0]));
await new Promise((resolve) => socket.on("connect", resolve));
await pause(200);

await entry("all", () => a.emit("hello", 1, "x", { a: null }));
await entry("another namespace", () => a.of("/admin").emit("hello"));
await entry("one room with flags", () => a.to("r1").except("r2").volatile.compress(false).emit("hello"));
await entry("two rooms", () => a.to(["r1", "r2"]).emit("hello", true));
await entry("text", () => a.emit("text", "ü你🎉\"\\/\b\f\n\r\t\u0001\u2028"));
await entry("binary", () => a.to("r1").emit("bin", Buffer.from([1, 2, 3]), { b: Buffer.alloc(0) }, 70000, -129, 0.5));
await entry("join", () => a.in("r1").socketsJoin(["z1", "z2"]));
await entry("leave", () => a.in("z1").except("z9").socketsLeave("z2"));
await entry("disconnect", () => a.in("nobody").disconnectSockets());
await entry("disconnect and close", () => a.in("nobody").disconnectSockets(true));
await messages("server-side emit", 1, () => a.serverSideEmit("sse", 2));
counter = 0x20;
await messages("broadcast with ack", 3, () => a.to("r1").timeout(500).emitWithAck("q", "resp"));
await messages("fetch nothing", 2, () => a.in("nobody").fetchSockets());

const { id } = socket;
socket.io.engine.close();
let keys = [];
for (; keys.length === 0; await pause(10)) keys = await control.keys("sio:session:*");
const sessions = [{ key: keys[0], value: await control.get(keys[0]), sid: id }];

said = [];
const emitted = [];
async function emit(name, act) {
  said = [];
  act();
  for (; said.length === 0;) await pause(5);
  emitted.push({ name, ...said[0] });
}
const emitter = new Emitter(control);
await emit("all", () => emitter.emit("em", 1, "ü", { a: [null, 0.5] }));
await emit("one room", () => emitter.to("r1").emit("em"));
await emit("two rooms with flags", () => emitter.to(["r1", "r2"]).except("x").volatile.compress(false).emit("em", 1));
await emit("another namespace", () => emitter.of("admin").emit("em", 1));
await emit("binary", () => emitter.emit("em", Buffer.from([1, 2])));
await emit("join", () => emitter.in("r1").socketsJoin("q"));
await emit("leave", () => emitter.except("r1").socketsLeave(["q", "p"]));
await emit("disconnect", () => emitter.in("nobody").disconnectSockets(true));
await emit("server-side emit", () => emitter.serverSideEmit("sse", 5));

const hash = (name) => { let h = 0; for (let i = 0; i < name.length; i++) { h = h * 31 + name.charCodeAt(i); h |= 0; } return h; };
const names = ["/", "/admin", "/chat", "/notifications", "/ü你🎉", "/a-long-name-of-a-namespace-that-wraps-around"].map((name) => ({ name, hash: hash(name) }));

const lines = (list) => list.map((v) => `    ${JSON.stringify(v)}`).join(",\n");
function write(file, packages, groups) {
  const made = packages.map((name) => `${name} ${version(name)}`).join(", ");
  const body = Object.entries(groups).map(([key, list]) => `  ${JSON.stringify(key)}: [\n${lines(list)}\n  ]`).join(",\n");
  writeFileSync(new URL(`../../pkg/adapter/redisadapter/testdata/${file}`, import.meta.url), `{\n  "made by": ${JSON.stringify(made)},\n${body}\n}\n`);
}
write("streams.json", ["socket.io", "socket.io-adapter", "@socket.io/redis-streams-adapter"], { entries, published, sessions, names });
write("emitter.json", ["@socket.io/redis-emitter"], { emitted });
console.log(`${entries.length} entries, ${published.length} messages, ${emitted.length} of the emitter`);
redis.stop();
process.exit(0);
