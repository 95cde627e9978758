// The application of main.go on the Node server: what the tests say of clients must hold there too.
import { createServer } from "node:http";
import { parseArgs } from "node:util";
import { createAdapter, createShardedAdapter } from "@socket.io/redis-adapter";
import { createAdapter as createStreamsAdapter } from "@socket.io/redis-streams-adapter";
import { createClient, createCluster, createSentinel } from "redis";
import { Server } from "socket.io";
import msgpack from "socket.io-msgpack-parser";

const { values: flags } = parseArgs({
  options: {
    tag: { type: "string" },
    redis: { type: "string" },
    cluster: { type: "boolean" }, // it is one of a Redis Cluster
    adapter: { type: "string", default: "classic" }, // classic, sharded, streams
    streams: { type: "string" },
    mode: { type: "string" }, // of the subscriptions of the sharded adapter
    specific: { type: "boolean" }, // answers on a channel of who asked
    eio3: { type: "boolean" },
    parser: { type: "string" },
    recovery: { type: "string" }, // ms
    deflate: { type: "boolean" },
    "ping-interval": { type: "string" }, // ms
    "ping-timeout": { type: "string" }, // ms
  },
});
const ms = (text) => { if (text && !text.endsWith("ms")) throw new Error(`${text}: not in ms`); return text && parseInt(text, 10); };
const log = (record) => process.stderr.write(`${JSON.stringify(record)}\n`);

const http = createServer();
/** A client of Redis: of one, of Sentinels if the URL names a master, of a cluster. */
function redis() {
  const url = new URL(flags.redis);
  const name = url.searchParams.get("master_name");
  if (flags.cluster) return createCluster({ rootNodes: [{ url: flags.redis }] });
  if (!name) return createClient({ url: flags.redis });
  const client = createSentinel({
    name, sentinelRootNodes: [{ host: url.hostname, port: Number(url.port) }], passthroughClientErrorEvents: true,
  });
  // The adapter sends the command of one Redis, which those of Sentinels want to know to be a reading one or not.
  const send = client.sendCommand.bind(client);
  client.sendCommand = (args) => send(false, args);
  return client;
}

/** The adapter of the server. */
async function adapter() {
  if (!flags.redis) return undefined;
  const clients = flags.adapter === "streams" ? [redis()] : [redis(), redis()];
  for (const each of clients) await each.on("error", () => {}).connect(); // Redis may end before this server does
  switch (flags.adapter) {
    case "classic": return createAdapter(...clients, { publishOnSpecificResponseChannel: flags.specific });
    case "sharded": return createShardedAdapter(...clients, { subscriptionMode: flags.mode ?? "dynamic" });
    case "streams": return createStreamsAdapter(clients[0], { streamCount: Number(flags.streams ?? 1) });
    default: throw new Error(`no adapter ${flags.adapter}`);
  }
}

const io = new Server(http, {
  adapter: await adapter(),
  allowEIO3: flags.eio3,
  ...(flags.parser === "msgpack" && { parser: msgpack }),
  ...(flags.recovery && { connectionStateRecovery: { maxDisconnectionDuration: ms(flags.recovery) } }),
  ...(flags.deflate && { perMessageDeflate: { threshold: 1024, serverNoContextTakeover: true, clientNoContextTakeover: true } }),
  ...(flags["ping-interval"] && { pingInterval: ms(flags["ping-interval"]), pingTimeout: ms(flags["ping-timeout"]) }),
});

function broadcast(socket, { to = [], except = [], local, volatile, uncompressed, sender }) {
  let target = (sender ? socket : socket.nsp).to(to).except(except);
  if (local) target = target.local;
  if (volatile) target = target.volatile;
  return uncompressed ? target.compress(false) : target;
}

/** What acts on the whole cluster. */
function clusterRoutes(nsp, socket) {
  const answer = async (ack, asked) => {
    try {
      ack(null, await asked());
    } catch (error) {
      ack(error.message);
    }
  };
  socket.on("sockets", (target, ack) => answer(ack, async () => {
    const sockets = await broadcast(socket, target).timeout(3000).fetchSockets();
    return sockets.map(({ id, rooms, data, handshake }) => ({ id, rooms: [...rooms], value: data.value ?? null, q: handshake.query.q ?? "" }));
  }));
  socket.on("all join", (target, rooms) => broadcast(socket, target).socketsJoin(rooms));
  socket.on("all leave", (target, rooms) => broadcast(socket, target).socketsLeave(rooms));
  socket.on("all disconnect", (target, whole) => broadcast(socket, target).disconnectSockets(whole));
  socket.on("tell servers", (...args) => nsp.serverSideEmit("told", ...args));
  socket.on("ask servers", (...args) => { const ack = args.pop(); return answer(ack, () => nsp.serverSideEmitWithAck("asked", ...args)); });
}

function routes(nsp) {
  nsp.on("told", (...args) => nsp.local.emit("told", flags.tag, ...args));
  nsp.on("asked", (...args) => args.pop()({ server: flags.tag, args }));
  nsp.on("connection", (socket) => {
    clusterRoutes(nsp, socket);
    socket.on("join", async (rooms, ack) => { await socket.join(rooms); ack([...socket.rooms]); });
    socket.on("leave", async (rooms, ack) => { for (const room of rooms) await socket.leave(room); ack([...socket.rooms]); });
    socket.on("emit", (target, ...event) => broadcast(socket, target).emit(...event));
    socket.on("echo", (...args) => args.pop()(...args));
    socket.on("again", (...event) => socket.emit(...event));
    socket.on("message", (...args) => socket.send(...args));
    socket.on("ask", async (...args) => {
      const ack = args.pop();
      socket.timeout(2000).emit("question", ...args, (error, ...answer) => ack(...(error ? ["no answer"] : answer)));
    });
    socket.on("poll", (target, ...args) => {
      const ack = args.pop();
      broadcast(socket, target).timeout(target.timeout ?? 2000).emit("question", ...args, (error, answers) => ack(answers, Boolean(error)));
    });
    socket.on("keep", (value, ack) => { socket.data.value = value; ack(); });
    socket.on("state", (ack) => ack({
      id: socket.id, rooms: [...socket.rooms], value: socket.data.value ?? null, recovered: socket.recovered,
      transport: socket.conn.transport.name, EIO: socket.handshake.query.EIO, q: socket.handshake.query.q ?? "",
    }));
    socket.on("kick", (whole) => socket.disconnect(whole));
    socket.on("disconnecting", (reason) => nsp.emit("leaving", socket.id, reason, [...socket.rooms]));
    socket.on("disconnect", (reason) => nsp.emit("left", socket.id, reason, socket.rooms.size));
  });
}

const guard = (auth) => {
  if (auth?.word === "sesame") return undefined;
  return Object.assign(new Error("not allowed"), { data: { code: 401, word: auth?.word ?? "" } });
};
io.of("/guarded").use((socket, next) => next(guard(socket.handshake.auth)));
io.of("/guarded").on("connection", (socket) => socket.emit("welcome", socket.handshake.auth.name, socket.handshake.query.q ?? ""));
for (const nsp of [io.of("/"), io.of("/other"), io.of("/guarded"), io.of(/^\/team-\d+$/)]) routes(nsp);
routes(io.of((name, auth, next) => next(null, name.startsWith("/club-") && !guard(auth))));

for (const signal of ["SIGTERM", "SIGINT"]) {
  process.once(signal, () => {
    io.close(() => process.exit(0));
    setTimeout(() => process.exit(0), 1000); // it waits for idle connections
  });
}
http.listen(0, "127.0.0.1", () => {
  log({ msg: "listening", addr: `127.0.0.1:${http.address().port}` });
  log({ msg: "ready" });
});
