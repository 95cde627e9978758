// The official clients of every age and language, behind one interface.
import { createRequire } from "node:module";
import { fileURLToPath } from "node:url";
import { createInterface } from "node:readline";
import { after } from "node:test";
import msgpack from "socket.io-msgpack-parser";
import { launch } from "./browser.mjs";
import { plain, ways } from "./client.mjs";
import { drive, pack, unpack } from "./driver.mjs";
import { Program, until } from "./program.mjs";

const require = createRequire(import.meta.url);
const open = new Set();
after(() => Promise.allSettled([...open].map((peer) => peer.end())));

/** A client in this process. */
const inProcess = (name, defaults = {}) => async (_, tell) => drive(require(name), defaults, tell);

let browser;
const pages = new Map();
/** A client in a page that comes from the server's address; connections to one address share it. */
const inPage = (bundle) => async (url, tell) => {
  const key = `${url} ${bundle}`;
  if (!pages.has(key)) pages.set(key, openPage(url, bundle));
  const { page, listeners } = await pages.get(key);
  const number = listeners.push(tell) - 1;
  await page.evaluate((i) => begin(i), number);
  return async (...command) => unpack(await page.evaluate(async ([i, line]) => pack(await acts[i](...unpack(line))), [number, pack(command)]));
};

async function openPage(url, bundle) {
  browser ??= launch();
  const page = await (await browser).newPage();
  const listeners = [];
  await page.route("**/page.html", (route) => route.fulfill({ contentType: "text/html", body: "<!doctype html>" }));
  await page.goto(`${url}/page.html`);
  await page.addScriptTag({ url: `/socket.io/${bundle}` });
  await page.exposeFunction("tell", (i, ...news) => listeners[i](...unpack(news)));
  await page.addScriptTag({
    content: `${pack}\n${unpack}\n${drive}\nconst acts = [];
      function begin(i) { acts[i] = drive(io, {}, (...news) => tell(i, ...pack(news))); }`,
  });
  return { page, listeners };
}

const driver = fileURLToPath(new URL("driver.py", import.meta.url));
let python;
/** All connections of python-socketio share one process. */
const inPython = (options) => {
  const start = () => {
    // Debian's packages are those of Debian's Python, whatever else there is.
    const program = new Program("python", "/usr/bin/python3", [driver], { stdin: "pipe" });
    const [waiting, listeners] = [new Map(), []];
    createInterface({ input: program.child.stdout }).on("line", (line) => {
      const [number, id, ...rest] = unpack(JSON.parse(line));
      if (id === null) return listeners[number](...rest);
      const [ok, result] = rest;
      const { resolve, reject } = waiting.get(id);
      waiting.delete(id);
      if (ok) resolve(result);
      else reject(new Error(result));
    });
    return { program, waiting, listeners, calls: 0 };
  };
  return async (_, tell) => {
    python ??= start();
    const { program, waiting, listeners } = python;
    const number = listeners.push(tell) - 1;
    return (command, ...args) => new Promise((resolve, reject) => {
      if (command === "open") args[2] = { ...args[2], ...options };
      const id = ++python.calls;
      waiting.set(id, { resolve, reject });
      program.child.stdin.write(`${JSON.stringify(pack([number, id, command, ...args]))}\n`);
    });
  };
};

/**
 * Every kind of client. protocol: of Engine.IO; parser: other than the default one; recovers: it knows connection state recovery;
 * deflates: it offers compression of WebSockets; threads: it handles each message in a thread of its own, in any order.
 */
export const kinds = Object.entries({
  "2.5.0": { start: inProcess("sio2"), protocol: 3, deflates: true },
  "3.1.3": { start: inProcess("sio3"), deflates: true },
  "4.0.0": { start: inProcess("sio40"), deflates: true },
  "4.8.4": { start: inProcess("socket.io-client"), deflates: true, recovers: true },
  "4.8.4 with msgpack": { start: inProcess("socket.io-client", { parser: msgpack }), parser: "msgpack", recovers: true },
  "Chromium": { start: inPage("socket.io.min.js"), deflates: true, recovers: true },
  "Chromium with msgpack": { start: inPage("socket.io.msgpack.min.js"), parser: "msgpack", recovers: true },
  "Python": { start: inPython({ asyncio: false, serializer: "default" }), python: true, threads: true },
  "Python asyncio": { start: inPython({ asyncio: true, serializer: "default" }), python: true },
  "Python with msgpack": { start: inPython({ asyncio: true, serializer: "msgpack" }), parser: "msgpack", python: true },
}).map(([name, kind]) => ({ name, protocol: 4, ...kind }));

/** One namespace as a client sees it. */
class Joined {
  heard = []; // [event, ...arguments]
  ids = []; // of each connection, the newest last
  recovered = []; // of each connection, whether it was
  ends = []; // the reasons of disconnections
  refusals = []; // {message, data}
  connected = false;

  constructor(peer, name) {
    this.peer = peer;
    this.name = name;
  }

  get id() {
    return this.ids.at(-1);
  }

  told(what, ...details) {
    switch (what) {
      case "connect":
        this.ids.push(details[0]);
        this.recovered.push(details[1]);
        this.connected = true;
        break;
      case "disconnect":
        this.ends.push(details[0]);
        this.connected = false;
        break;
      case "refused":
        this.refusals.push(details[0]);
        break;
      default:
        this.heard.push(plain(details));
    }
  }

  emit(...event) {
    return this.peer.act("emit", this.name, ...event);
  }

  /** Emits and returns all values of the acknowledgement. */
  async call(...event) {
    let timer;
    const late = new Promise((_, reject) => { timer = setTimeout(() => reject(new Error(`${this} got no answer to "${event[0]}"`)), 20_000); });
    try {
      return plain(await Promise.race([this.peer.act("call", this.name, ...event), late]));
    } finally {
      clearTimeout(timer);
    }
  }

  /** The arguments of the events of this name. */
  got(event) {
    return this.heard.filter(([name]) => name === event).map(([, ...args]) => args);
  }

  /** Waits for count events of this name and returns their arguments. */
  async hears(event, count = 1) {
    await until(() => `${this} hears ${count} "${event}"; it heard ${JSON.stringify(this.heard).slice(0, 2000)}`, () => this.got(event).length >= count);
    return this.got(event);
  }

  until(what, condition, timeout) {
    const state = () => JSON.stringify({ ids: this.ids, recovered: this.recovered, ends: this.ends, refusals: this.refusals });
    return until(() => `${what} of ${this}: ${state()}`, () => condition(this), timeout);
  }

  toString() {
    return `${this.peer.label} in ${this.name}`;
  }
}

/** One connection of a client. */
export class Peer {
  /** Opens a connection and enters the namespaces, without waiting for their answers. */
  static async open(kind, url, way, names = ["/"], options = {}) {
    const peer = new Peer();
    peer.label = `${kind.name} by ${way}`;
    peer.way = way;
    peer.namespaces = new Map(names.map((name) => [name, new Joined(peer, name)]));
    peer.act = await kind.start(url, (name, ...news) => peer.namespaces.get(name).told(...news));
    open.add(peer);
    const { query } = options;
    const target = kind.python && query ? `${url}?${new URLSearchParams(query)}` : url;
    await peer.act("open", target, names, { ...ways[way], ...options });
    return peer;
  }

  /** As open, and waits until all namespaces are connected, and upgraded if that is the way. */
  static async connect(...args) {
    const peer = await Peer.open(...args);
    await peer.connected();
    return peer;
  }

  async connected() {
    for (const joined of this.namespaces.values()) await joined.until("connection", () => joined.connected);
    if (this.way === "upgrade") await until(`the upgrade of ${this.label}`, async () => (await this.act("engine")).transport === "websocket");
  }

  in(name = "/") {
    return this.namespaces.get(name);
  }

  async end() {
    if (open.delete(this)) await this.act("end");
  }
}
