// The Node.js peer of `loadtest compare`: relays "chat message" to everybody, as the Socket.IO tutorial does. Clients may
// join rooms and send to them, as with `loadtest room-server`.
// HOST and PORT: where it listens. REDIS_URL: joins other servers through @socket.io/redis-adapter.
// PING_INTERVAL, PING_TIMEOUT: milliseconds, Socket.IO's own defaults otherwise.
import { createServer } from "node:http";
import { createAdapter } from "@socket.io/redis-adapter";
import { createClient } from "redis";
import { Server } from "socket.io";

const { HOST = "127.0.0.1", PORT = "3000", REDIS_URL, PING_INTERVAL = "25000", PING_TIMEOUT = "20000" } = process.env;

const options = { pingInterval: Number(PING_INTERVAL), pingTimeout: Number(PING_TIMEOUT), serveClient: false };
if (REDIS_URL) {
  const publisher = createClient({ url: REDIS_URL });
  const subscriber = publisher.duplicate();
  await Promise.all([publisher.connect(), subscriber.connect()]);
  options.adapter = createAdapter(publisher, subscriber);
}

const server = createServer();
const io = new Server(server, options);
io.on("connection", (socket) => {
  socket.on("chat message", (...args) => io.emit("chat message", ...args));
  socket.on("join", async (rooms, ack) => {
    await socket.join(rooms);
    ack();
  });
  socket.on("room message", (text, room) => io.to(room).emit("room message", text, room));
});
server.listen(Number(PORT), HOST);
