// Drives official JavaScript clients of any version, in this process or in a page: each function uses nothing from outside of it.

/**
 * One connection of a client. tell(namespace, what, ...details) hears what happens: connect(id, recovered), event(name, ...arguments),
 * disconnect(reason), refused({message, data}). What is returned takes the commands.
 */
export function drive(io, defaults, tell) {
  const sockets = new Map();

  function watch(name, socket) {
    sockets.set(name, socket);
    socket.on("connect", () => tell(name, "connect", socket.id, Boolean(socket.recovered)));
    socket.on("disconnect", (reason) => tell(name, "disconnect", reason));
    // Answers with what it is asked.
    socket.on("question", (...args) => { if (typeof args.at(-1) === "function") args.pop()(...args); });
    if (!socket.onAny) { // 2.x
      const { onevent } = socket;
      socket.onevent = (packet) => {
        tell(name, "event", ...packet.data);
        onevent.call(socket, packet);
      };
      socket.on("error", (error) => tell(name, "refused", typeof error === "string" ? { message: error } : { data: error }));
    } else {
      socket.onAny((...event) => tell(name, "event", ...event.filter((value) => typeof value !== "function")));
      socket.on("connect_error", ({ message, data, type }) => { if (type !== "TransportError") tell(name, "refused", { message, data }); });
    }
  }

  const commands = {
    open(url, names, { auth, query, ...options }) {
      const settings = { ...defaults, ...options, query, forceNew: true, autoConnect: false };
      const manager = io(url, settings).io; // which has no connection yet
      const quick = { reconnectionDelay: 50, reconnectionDelayMax: 200 };
      for (const [option, value] of Object.entries(quick)) manager[option](value);
      for (const name of names) {
        const socket = manager.socket(name);
        if (auth) socket[socket.onAny ? "auth" : "query"] = auth; // a query in 2.x
        watch(name, socket);
      }
      for (const socket of sockets.values()) socket.connect();
    },
    emit: (name, ...event) => { sockets.get(name).emit(...event); },
    call: (name, ...event) => new Promise((resolve) => sockets.get(name).emit(...event, (...values) => resolve(values))),
    connect: (name) => { sockets.get(name).connect(); },
    disconnect: (name) => { sockets.get(name).disconnect(); },
    engine() {
      const { io: { engine } } = sockets.values().next().value;
      return { transport: engine?.transport?.name, extensions: engine?.transport?.ws?.extensions };
    },
    /** The client ends the connection as if the network did, without a word to the namespaces. */
    hangUp() { sockets.values().next().value.io.engine.close(); },
    /** Leaves for good. */
    end() {
      const { io: manager } = sockets.values().next().value;
      manager.reconnection(false);
      for (const socket of sockets.values()) socket.disconnect();
      manager.engine?.close();
    },
  };
  return async (command, ...args) => commands[command](...args);
}

/** Values as JSON can carry them: binary becomes {"$binary": base64}. */
export function pack(value) {
  if (value instanceof ArrayBuffer || ArrayBuffer.isView(value)) {
    const bytes = value instanceof ArrayBuffer ? new Uint8Array(value) : new Uint8Array(value.buffer, value.byteOffset, value.byteLength);
    let text = "";
    for (let i = 0; i < bytes.length; i += 8192) text += String.fromCharCode(...bytes.subarray(i, i + 8192));
    return { $binary: btoa(text) };
  }
  if (Array.isArray(value)) return value.map(pack);
  if (value && typeof value === "object") return Object.fromEntries(Object.entries(value).map(([key, each]) => [key, pack(each)]));
  return value;
}

export function unpack(value) {
  if (Array.isArray(value)) return value.map(unpack);
  if (!value || typeof value !== "object") return value;
  if (typeof value.$binary === "string") return Uint8Array.from(atob(value.$binary), (c) => c.charCodeAt(0)).buffer;
  return Object.fromEntries(Object.entries(value).map(([key, each]) => [key, unpack(each)]));
}
