"use strict";

// The chat of the Socket.IO tutorial: sends "chat message" with the text and {name}, shows what everybody sends.

const maxMessages = 500; // in the page; older ones go
const maxText = 8000; // characters shown of one message

const $ = (id) => document.getElementById(id);
const log = $("log");
const messages = $("messages");
const waiting = $("waiting"); // own messages that have not come back yet

// Messages

const isBinary = (v) => v instanceof ArrayBuffer || ArrayBuffer.isView(v) || v instanceof Blob;

function describeBinary(v) {
  const size = v instanceof Blob ? v.size : v.byteLength;
  const text = `binary, ${size} ${size === 1 ? "byte" : "bytes"}`;
  if (v instanceof Blob || size === 0) return text;
  const head = new Uint8Array(v.buffer ?? v, v.byteOffset ?? 0, Math.min(size, 16));
  const hex = Array.from(head, (b) => b.toString(16).padStart(2, "0")).join(" ");
  return `${text}: ${hex}${size > head.length ? " …" : ""}`;
}

/** Any JSON or binary as text. */
function describe(v) {
  if (typeof v === "string") return v;
  if (isBinary(v)) return describeBinary(v);
  const binaryAsText = (_, inner) => (isBinary(inner) ? `(${describeBinary(inner)})` : inner);
  try {
    const json = JSON.stringify(v, binaryAsText);
    return json.length < 2000 ? JSON.stringify(v, binaryAsText, 2) : json;
  } catch { // the parser takes deeper nesting than the printer
    return "JSON, nested too deeply to show";
  }
}

/** Splits the arguments of an event: what was said, and by whom. A string at the end is no part of it: servers put an offset there. */
function split(args) {
  const parts = [...args];
  if (parts.length > 1 && typeof parts.at(-1) === "string") parts.pop();
  let name = "";
  const last = parts.at(-1);
  if (parts.length > 1 && last && typeof last === "object" && typeof last.name === "string") {
    name = last.name.trim().slice(0, 40);
    parts.pop();
  }
  return { parts, name };
}

function element(tag, className, text) {
  const e = document.createElement(tag);
  if (className) e.className = className;
  if (text !== undefined) e.textContent = text;
  return e;
}

function hue(name) {
  let h = 0;
  for (const c of name) h = (h * 31 + c.codePointAt(0)) % 360;
  return h;
}

function byline(name, note) {
  const from = element("div", "from");
  const who = element("b", name ? "" : "nameless", name || "Somebody");
  who.style.setProperty("--hue", hue(name));
  from.append(who, note);
  return from;
}

function body(part) {
  const text = describe(part);
  const p = element("p", typeof part === "string" ? "text" : "text data", text.slice(0, maxText));
  p.dir = "auto";
  if (text.length > maxText) p.append(element("span", "more", ` … and ${(text.length - maxText).toLocaleString()} more characters`));
  return p;
}

function messageItem({ parts, name, mine, time }, previous) {
  const li = element("li", mine ? "mine" : "");
  const clock = element("time", "", time.toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" }));
  clock.dateTime = time.toISOString();
  const from = byline(name, clock);
  li.dataset.by = `${mine ? "me" : "them"} ${name}`;
  if (name && previous?.dataset.by === li.dataset.by) { // said by the same person: the name is for screen readers only
    li.classList.add("follows");
    from.classList.add("unseen");
  }
  li.append(from, ...parts.map(body));
  return li;
}

// Scrolling: the newest message is in view, unless one reads above; then the text under the eye stays where it is.

let unread = 0;
const atEnd = () => log.scrollHeight - log.scrollTop - log.clientHeight < 40;

function toEnd() {
  log.scrollTop = log.scrollHeight;
  unread = 0;
  $("newer").hidden = true;
}

function keepPlace(change) {
  if (atEnd()) {
    change();
    toEnd();
    return;
  }
  const anchor = [...messages.children].find((li) => li.offsetTop + li.offsetHeight > log.scrollTop);
  const before = anchor?.offsetTop ?? 0;
  change();
  if (anchor?.isConnected) log.scrollTop += anchor.offsetTop - before;
}

log.addEventListener("scroll", () => { if (unread && atEnd()) toEnd(); }, { passive: true });
$("newer").addEventListener("click", () => { toEnd(); $("m").focus(); });
addEventListener("resize", (() => {
  let wasAtEnd = true; // the keyboard of a phone comes up: the newest message moves up with it
  log.addEventListener("scroll", () => { wasAtEnd = atEnd(); }, { passive: true });
  return () => { if (wasAtEnd) toEnd(); };
})());

// Arrivals are shown once per frame: a flood costs one layout a frame, and a page in the background none.

let arrivals = [];

function arrive(item) {
  if (arrivals.push(item) === 1) requestAnimationFrame(show);
  if (arrivals.length > 2 * maxMessages) arrivals = arrivals.slice(-maxMessages);
}

function show() {
  const items = arrivals.slice(-maxMessages);
  arrivals = [];
  const reading = !atEnd();
  keepPlace(() => {
    for (const item of items) {
      messages.append(item.note ? element("li", "note", item.note) : messageItem(item, messages.lastElementChild));
    }
    while (messages.childElementCount > maxMessages) messages.firstElementChild.remove();
  });
  if (!reading) return;
  unread += items.filter((item) => !item.note).length;
  $("newer").hidden = unread === 0;
  $("newer").textContent = unread === 1 ? "1 new message" : `${unread} new messages`;
}

// The name, kept in this browser where that is allowed

function storedName() {
  try {
    return localStorage.getItem("chorus.name");
  } catch {
    return null;
  }
}

function storeName() {
  try {
    localStorage.setItem("chorus.name", $("name").value.trim());
  } catch {
    // private windows may forbid it: the name then lives as long as the page
  }
}

$("name").value = storedName() || `Guest ${100 + Math.floor(Math.random() * 900)}`;
$("name").addEventListener("change", storeName);
$("name").addEventListener("keydown", (event) => {
  if (event.key === "Enter" && !event.isComposing) $("m").focus();
});

// Connection

function state(name, text) {
  document.body.dataset.state = name;
  $("again").hidden = name !== "failed" || !socket;
  $("status").textContent = text;
}

/** The node's tag: what stands before the last 20 characters of the session id, and their underscore. */
const nodeOf = (engine) => engine.id.slice(0, -21);
const transportNames = { polling: "long polling", websocket: "WebSocket", webtransport: "WebTransport" };

function showConnected() {
  const { engine } = socket.io;
  const by = transportNames[engine.transport.name] ?? engine.transport.name;
  state("connected", nodeOf(engine) ? `Node ${nodeOf(engine)}, ${by}` : `Connected, ${by}`);
}

function connect() {
  let left = null; // the node that served us before the connection broke
  const s = io({ path: document.body.dataset.path });

  s.on("connect", () => {
    const { engine } = s.io;
    engine.once("upgrade", showConnected);
    showConnected();
    if (left !== null && !s.recovered) {
      const where = nodeOf(engine) && nodeOf(engine) !== left ? `, now on node ${nodeOf(engine)}` : "";
      arrive({ note: `Connected again${where}. What others said meanwhile is not shown.` });
    }
    for (const li of waiting.children) if (li.dataset.state === "buffered") mark(li, "sent");
    left = nodeOf(engine);
  });
  s.on("disconnect", (reason) => {
    if (s.active) state("connecting", "Connection lost, trying again…");
    else state("failed", reason === "io server disconnect" ? "The server ended the connection" : "Disconnected");
    for (const li of waiting.children) if (li.dataset.state === "sent") mark(li, "unsure");
  });
  s.on("connect_error", (error) => {
    if (s.active) state("connecting", "No connection, trying again…");
    else state("failed", `The server refused: ${error.message}`);
  });
  s.on("chat message", (...args) => {
    const { parts, name } = split(args);
    const pending = parts.length === 1 ? pendingFor(parts[0], name) : undefined;
    pending?.remove(); // it is shown again before the next paint, now among all others
    arrive({ parts, name, mine: pending !== undefined, time: new Date() });
  });
  return s;
}

// Sending: a message waits in its own list until the server sends it back to everybody, us included.

const notes = { buffered: "waiting for the connection", sent: "sending", unsure: "perhaps not delivered" };

function mark(li, newState) {
  li.dataset.state = newState;
  li.querySelector(".note").textContent = notes[newState];
  li.querySelector(".resend").hidden = newState !== "unsure";
}

/** The own message that this echo answers. One with equal text and name looks the same, so it may stand in for it. */
function pendingFor(text, name) {
  return [...waiting.children].find((li) => li.dataset.text === text && li.dataset.name === name);
}

function send(text) {
  const name = $("name").value.trim();
  const li = element("li", "mine");
  li.dataset.text = text;
  li.dataset.name = name;
  const again = element("button", "resend", "Send again");
  again.type = "button";
  again.addEventListener("click", () => { li.remove(); send(text); $("m").focus(); });
  const from = byline(name, element("span", "note"));
  from.append(again);
  li.append(from, body(text));
  mark(li, socket.connected ? "sent" : "buffered");
  waiting.append(li);
  toEnd();
  socket.emit("chat message", text, { name });
}

document.querySelector("form").addEventListener("submit", (event) => {
  event.preventDefault();
  const text = $("m").value;
  if (!text.trim() || !socket) return;
  send(text);
  $("m").value = "";
});
$("again").addEventListener("click", () => {
  state("connecting", "Connecting…");
  socket.connect();
  $("m").focus();
});

const socket = typeof io === "undefined" ? null : connect();
if (!socket) {
  state("failed", "The Socket.IO client is missing");
  $("empty").textContent = "This program was built without the Socket.IO client. Run “make client” and build it again, or start it with --client.dir.";
}
