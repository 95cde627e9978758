// The Engine.IO protocol by hand: what no official client would do.
import WebSocket from "ws";
import { after } from "node:test";
import { until } from "./program.mjs";

const open = new Set();
after(() => open.forEach((socket) => socket.terminate()));

/** A request below the path; the answer's body is read. */
export async function request(node, query, init) {
  const response = await fetch(`${node.url}/socket.io/?${new URLSearchParams(query)}`, init);
  return { status: response.status, headers: response.headers, body: await response.text() };
}

/** A polling session. */
export class Polling {
  static async open(node) {
    const polling = new Polling();
    polling.node = node;
    polling.handshake = await request(node, { EIO: "4", transport: "polling" });
    polling.sid = JSON.parse(polling.handshake.body.slice(1)).sid;
    return polling;
  }

  #query = () => ({ EIO: "4", transport: "polling", sid: this.sid });

  get() {
    return request(this.node, this.#query());
  }

  send(method, body, headers = { "content-type": "text/plain;charset=UTF-8" }) {
    return request(this.node, this.#query(), { method, body, headers });
  }

  post(...packets) {
    return this.send("POST", packets.join("\x1e"));
  }

  /** Joins the main namespace. */
  async connect() {
    await this.post("40");
    const { body } = await this.get();
    if (!body.startsWith('40{"sid":"')) throw new Error(`no CONNECT in ${body}`);
  }
}

/** A WebSocket whose messages are kept: text as strings, binary as Buffers. */
export class Socket {
  messages = [];
  closed = null; // {code, reason}

  static async open(node, { sid, headers } = {}) {
    const socket = new Socket();
    const query = new URLSearchParams({ EIO: "4", transport: "websocket", ...(sid && { sid }) });
    socket.ws = new WebSocket(`${node.url.replace("http", "ws")}/socket.io/?${query}`, { headers });
    open.add(socket.ws);
    socket.ws.on("message", (data, isBinary) => socket.messages.push(isBinary ? data : String(data)));
    socket.ws.on("close", (code, reason) => { socket.closed = { code, reason: String(reason) }; });
    socket.ws.on("error", () => {}); // the close that follows tells
    await new Promise((resolve, reject) => {
      socket.ws.once("open", resolve);
      socket.ws.once("unexpected-response", (_, response) => {
        let body = "";
        response.setEncoding("utf8").on("data", (text) => { body += text; });
        response.on("end", () => reject(Object.assign(new Error(`refused: ${response.statusCode} ${body}`), {
          status: response.statusCode, headers: response.headers, body,
        })));
      });
    });
    return socket;
  }

  /** Joins the main namespace and returns the socket's id. */
  async connect() {
    this.ws.send("40");
    const reply = await this.message((text) => text.startsWith("40{"));
    return JSON.parse(reply.slice(2)).sid;
  }

  message(matches) {
    return until(() => `a message in ${JSON.stringify(this.messages)}`, () => this.messages.find((m) => typeof m === "string" && matches(m)));
  }

  end() {
    return until(() => `the WebSocket is closed; it got ${JSON.stringify(this.messages)}`, () => this.closed);
  }
}
