// Writes what two official servers with the sharded adapter say to each other over a real Redis into a JSON file beside
// the Go tests that read it. Run by `make golden`, needs redis-server; the file is committed.
import { readFileSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import { createRequire } from "node:module";
import { createClient } from "redis";
import { createShardedAdapter } from "@socket.io/redis-adapter";
import { Server } from "socket.io";
import { io as connect } from "socket.io-client";
import { Redis } from "../harness/redis.mjs";

const require = createRequire(import.meta.url);
const crypto = require("node:crypto");
const { encode } = require("notepack.io");
const version = (name) => JSON.parse(readFileSync(new URL(`../node_modules/${name}/package.json`, import.meta.url))).version;

// Names are made of random bytes: a counter in their place keeps the file the same from run to run.
let counter = 0;
crypto.randomBytes = (n) => { const b = Buffer.alloc(n); b.writeUInt32BE(++counter, n - 4); return b; };

const redis = await Redis.start();
let said = null; // what the operation that runs has published
const vectors = [];

async function client() {
  const c = createClient({ url: redis.url });
  c.on("error", () => {}); // Redis ends before us
  await c.connect();
  return c;
}

async function server() {
  const pub = await client();
  const publish = pub.sPublish.bind(pub);
  pub.sPublish = (channel, payload) => {
    said?.push({ channel, ...(Buffer.isBuffer(payload) ? { hex: payload.toString("hex") } : { text: payload }) });
    return publish(channel, payload);
  };
  const http = createServer();
  const io = new Server(http, { adapter: createShardedAdapter(pub, await client()) });
  io.on("connection", (socket) => socket.join("r1"));
  io.of("/admin").on("connection", () => {});
  io.on("sse", (value, ack) => ack?.(value));
  await new Promise((resolve) => http.listen(0, "127.0.0.1", resolve));
  io.port = http.address().port;
  return io;
}

// Records what is published until `messages` messages were.
async function record(name, messages, act) {
  said = [];
  const done = act();
  for (const deadline = Date.now() + 5000; said.length < messages;) {
    if (Date.now() > deadline) throw new Error(`${name}: ${said.length} of ${messages} messages`);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  await done;
  said.forEach((s, i) => vectors.push({ name: messages > 1 ? `${name} ${i + 1}` : name, ...s }));
  said = null;
}

const a = await server(), b = await server();
await new Promise((resolve) => setTimeout(resolve, 200));
const socket = connect(`http://127.0.0.1:${b.port}`, { transports: ["websocket"] });
socket.on("q", (...args) => args.pop()(args[0]));
socket.on("nothing", (ack) => ack());
await new Promise((resolve) => socket.on("connect", resolve));
await new Promise((resolve) => setTimeout(resolve, 200));

await record("all", 1, () => a.emit("hello", 1, "x", { a: null }));
await record("another namespace", 1, () => a.of("/admin").emit("hello"));
await record("one room with flags", 1, () => a.to("r1").except("r2").volatile.compress(false).emit("hello"));
await record("two rooms", 1, () => a.to(["r1", "r2"]).emit("hello", true));
await record("room of a socket", 1, () => a.to(socket.id).emit("private"));
await record("text", 1, () => a.emit("text", "ü你🎉\"\\/\b\f\n\r\t\u0001\u2028"));
await record("numbers", 1, () => a.emit("numbers", 0, -1, 0.5, 1e21, 9007199254740991, -32769));
await record("binary", 1, () => a.to("r1").emit("bin", Buffer.from([1, 2, 3]), { b: Buffer.alloc(0) }, 70000, -129, 0.5));
await record("binary to all", 1, () => a.except("x").volatile.emit("bin", Buffer.from([255])));
await record("join", 1, () => a.in("r1").socketsJoin(["z1", "z2"]));
await record("leave", 1, () => a.in("z1").except("z9").socketsLeave("z2"));
await record("disconnect", 1, () => a.in("nobody").disconnectSockets());
await record("disconnect and close", 1, () => a.in("nobody").disconnectSockets(true));
await record("server-side emit", 1, () => a.serverSideEmit("sse", 2));
await record("server-side emit of binary data", 1, () => a.serverSideEmit("sse", Buffer.from([7])));
counter = 0x10;
await record("server-side emit with ack", 2, () => a.serverSideEmitWithAck("sse", "pong"));
await record("server-side emit with binary ack", 2, () => a.serverSideEmitWithAck("sse", Buffer.from([9, 8])));
await record("server-side emit with empty ack", 2, () => a.serverSideEmitWithAck("sse", undefined));
await record("broadcast with ack", 3, () => a.to("r1").timeout(500).emitWithAck("q", "resp"));
await record("broadcast with binary ack", 3, () => a.timeout(500).emitWithAck("q", Buffer.from([4])));
await record("broadcast with empty ack", 3, () => a.timeout(500).emitWithAck("nothing"));
await record("fetch nothing", 2, () => a.in("nobody").fetchSockets());
await record("fetch with timeout", 2, () => a.in("r1").except("nobody").timeout(700).fetchSockets());
await record("fetch from one socket", 3, async () => { const [s] = await a.fetchSockets(); s.emit("bye"); });
b.sockets.sockets.forEach((s) => { s.data.avatar = Buffer.from([1, 2]); });
await record("fetch binary data", 2, () => a.in("r1").fetchSockets());

// What older or other servers may send: read, not written by us.
const foreign = [
  ["numbers as rooms", JSON.stringify({ type: 3, data: { packet: { type: 2, data: ["x"] }, opts: { rooms: [1, "b"], except: [2], flags: {} } }, uid: "aaaaaaaaaaaaaaaa", nsp: "/" })],
  ["packet with namespace", JSON.stringify({ type: 3, data: { packet: { type: 2, data: ["x"], nsp: "/" }, opts: { rooms: [], except: [], flags: {} } }, uid: "emitter", nsp: "/" })],
  ["heartbeat", JSON.stringify({ type: 2, uid: "aaaaaaaaaaaaaaaa", nsp: "/" })],
].map(([name, text]) => ({ name, text }));
const date = { type: 3, data: { packet: { type: 2, data: ["d", new Date(86400000), undefined, Buffer.from([1])] }, opts: { rooms: [], except: [], flags: {} } }, uid: "aaaaaaaaaaaaaaaa", nsp: "/" };
foreign.push({ name: "dates and undefined beside binary", hex: encode(date).toString("hex") });

const made = ["socket.io", "socket.io-adapter", "@socket.io/redis-adapter"].map((name) => `${name} ${version(name)}`).join(", ");
const lines = (list) => list.map((v) => `    ${JSON.stringify(v)}`).join(",\n");
writeFileSync(new URL("../../pkg/adapter/redisadapter/testdata/cluster.json", import.meta.url),
  `{\n  "made by": ${JSON.stringify(made)},\n  "published": [\n${lines(vectors)}\n  ],\n  "foreign": [\n${lines(foreign)}\n  ]\n}\n`);
console.log(`${vectors.length} messages`);
socket.close();
redis.stop();
process.exit(0);
