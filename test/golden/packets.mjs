// The packets that every encoder is asked for, and what they mean to a Go program.

export const CONNECT = 0, DISCONNECT = 1, EVENT = 2, ACK = 3, CONNECT_ERROR = 4;
const names = ["CONNECT", "DISCONNECT", "EVENT", "ACK", "CONNECT_ERROR"];

const bytes = (...list) => Buffer.from(list);
// A view with the whole of its buffer: notepack.io 2 encodes the buffer, whatever part of it the view shows.
const typed = (...list) => new Uint8Array(list);

// In both protocols.
export const common = [
  ["connect", { type: CONNECT, nsp: "/" }],
  ["connect to a namespace", { type: CONNECT, nsp: "/admin" }],
  ["disconnect", { type: DISCONNECT, nsp: "/" }],
  ["disconnect from a namespace", { type: DISCONNECT, nsp: "/admin" }],
  ["refused with text", { type: CONNECT_ERROR, nsp: "/", data: "boom" }],
  ["refused with data", { type: CONNECT_ERROR, nsp: "/nope", data: { k: 1 } }],
  ["event", { type: EVENT, nsp: "/", data: ["hello", 1, { a: null }] }],
  ["event without arguments", { type: EVENT, nsp: "/", data: ["hello"] }],
  ["event with a number for a name", { type: EVENT, nsp: "/", data: [7, "x"] }],
  ["event of a namespace", { type: EVENT, nsp: "/admin", data: ["hello"] }],
  ["event that wants an acknowledgement", { type: EVENT, nsp: "/", id: 0, data: ["q", 5] }],
  ["event of a namespace that wants one", { type: EVENT, nsp: "/admin", id: 12, data: ["q"] }],
  ["largest id", { type: EVENT, nsp: "/", id: Number.MAX_SAFE_INTEGER, data: ["q"] }],
  ["acknowledgement", { type: ACK, nsp: "/", id: 12, data: ["ok"] }],
  ["empty acknowledgement", { type: ACK, nsp: "/admin", id: 0, data: [] }],
  ["literals", { type: EVENT, nsp: "/", data: ["x", true, false, null, [], {}, "", 0] }],
  ["integers", { type: EVENT, nsp: "/", data: ["x", 127, 128, 255, 256, 65535, 65536, 4294967295, 4294967296, -1, -32, -33, -128, -129, -32768, -32769, -2147483648, -2147483649, Number.MAX_SAFE_INTEGER, Number.MIN_SAFE_INTEGER] }],
  ["fractions", { type: EVENT, nsp: "/", data: ["x", 0.1, -1.5, 1e-7, 123456789.125, 5e-324, Math.PI] }],
  ["text", { type: EVENT, nsp: "/", data: ["x", "é€😀", "<b>&'", "quote \" slash / \\ \b\f\n\r\t\u0000\u001f\u007f", "\u2028\u2029"] }],
  ["name and keys beyond ASCII", { type: EVENT, nsp: "/räume", data: ["größe 😀", { "schlüssel €": 1 }] }],
  ["longer text", { type: EVENT, nsp: "/", data: ["x".repeat(31), "y".repeat(32), "é".repeat(128)] }],
  ["nested", { type: EVENT, nsp: "/", data: ["x", [[[[[1]]]]], { a: { b: { c: [{ d: {} }] } } }] }],
  ["many elements", { type: EVENT, nsp: "/", data: ["x", Array(15).fill(0), Array(16).fill(0), Object.fromEntries(Array.from({ length: 16 }, (_, i) => [`k${i}`, i]))] }],
  ["placeholder as plain data", { type: EVENT, nsp: "/", data: ["x", { _placeholder: true, num: 0 }] }],
  ["placeholder in text", { type: EVENT, nsp: "/", data: ["x", '{"_placeholder":true,"num":0}'] }],
  ["binary event", { type: EVENT, nsp: "/", data: ["b", bytes(1, 2, 255)] }],
  ["binary event with text", { type: EVENT, nsp: "/a", id: 3, data: ["b", "é", bytes(0), { k: 1 }] }],
  ["empty binary value", { type: EVENT, nsp: "/", data: ["b", bytes()] }],
  ["nested binary values", { type: EVENT, nsp: "/", data: ["b", { x: bytes(1), y: [bytes(2), { z: bytes(3) }] }, bytes(4)] }],
  ["binary acknowledgement", { type: ACK, nsp: "/", id: 3, data: [bytes(9)] }],
  ["binary acknowledgement of a namespace", { type: ACK, nsp: "/a", id: 4, data: ["x", { a: bytes(1, 2) }] }],
  ["ten attachments", { type: EVENT, nsp: "/", data: ["b", ...Array.from({ length: 10 }, (_, i) => bytes(i))] }],
  ["long attachment", { type: EVENT, nsp: "/", data: ["b", Buffer.alloc(300, 7)] }],
];

// CONNECT has data since protocol 4 of Engine.IO.
export const since4 = [
  ["connect with auth", { type: CONNECT, nsp: "/", data: { token: "abc" } }],
  ["connect to a namespace with auth", { type: CONNECT, nsp: "/admin", data: { token: "abc", nested: { a: [1] } } }],
  ["connect with a session to recover", { type: CONNECT, nsp: "/", data: { pid: "p", offset: "o" } }],
  ["accepted", { type: CONNECT, nsp: "/", data: { sid: "z_ykFQgXHwHxxZ7uAAAA" } }],
  ["accepted with recovery", { type: CONNECT, nsp: "/admin", data: { sid: "s", pid: "p" } }],
  ["accepted without recovery", { type: CONNECT, nsp: "/", data: { sid: "s", pid: undefined } }],
  ["refused", { type: CONNECT_ERROR, nsp: "/", data: { message: "boom", data: { k: 1 } } }],
  ["refused without data", { type: CONNECT_ERROR, nsp: "/nope", data: { message: "Invalid namespace" } }],
];

// What JSON cannot say.
export const odd = [
  ["dates", { type: EVENT, nsp: "/", data: ["x", new Date(0), new Date(1767323045678), new Date(-1), { at: new Date(8.64e15) }] }],
  ["undefined", { type: EVENT, nsp: "/", data: ["x", undefined, { a: undefined, b: 1, c: undefined }] }],
  ["numbers that are not finite", { type: EVENT, nsp: "/", data: ["x", NaN, Infinity, -Infinity] }],
  ["minus zero", { type: EVENT, nsp: "/", data: ["x", -0] }],
  ["objects with toJSON", { type: EVENT, nsp: "/", data: ["x", { toJSON: () => ({ a: 1 }) }] }],
  ["typed arrays", { type: EVENT, nsp: "/", data: ["b", typed(1), typed(1, 2, 3, 4, 5, 6, 7, 8), typed(), new Uint8Array([5, 6]).buffer] }],
];

const isBinary = (v) => v instanceof ArrayBuffer || ArrayBuffer.isView(v);

// deconstruct puts placeholders in the place of binary values, depth first.
function deconstruct(v, found) {
  if (isBinary(v)) {
    found.push(Buffer.from(v.buffer ? new Uint8Array(v.buffer, v.byteOffset, v.byteLength) : v));
    return { _placeholder: true, num: found.length - 1 };
  }
  if (Array.isArray(v)) return v.map((e) => deconstruct(e, found));
  if (v === null || typeof v !== "object" || v instanceof Date) return v;
  if (typeof v.toJSON === "function") return deconstruct(v.toJSON(), found);
  return Object.fromEntries(Object.entries(v).map(([k, e]) => [k, deconstruct(e, found)]));
}

// meaning is what a Go program should find in the packet: JSON text, and the attachments apart.
export function meaning({ type, nsp, id, data }) {
  const found = [];
  const text = data === undefined ? undefined : JSON.stringify(deconstruct(data, found));
  return { type: names[type], nsp, id, data: text, attachments: found.length ? found.map((b) => b.toString("hex")) : undefined };
}

// revive returns the values of a meaning, with Buffers in the place of placeholders.
export function revive({ data, attachments }) {
  if (data === undefined) return undefined;
  return JSON.parse(data, (_, v) =>
    attachments && v?._placeholder === true ? Buffer.from(attachments[v.num], "hex") : v);
}

// message is a text or binary message of Engine.IO.
export const message = (m) => (typeof m === "string" ? { text: m } : { hex: Buffer.from(m).toString("hex") });
