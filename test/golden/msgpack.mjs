import assert from "node:assert/strict";
import { ACK, CONNECT, DISCONNECT, EVENT, common, meaning, odd, revive, since4 } from "./packets.mjs";

const hex = (b) => Buffer.from(b).toString("hex");

function decode({ Decoder }, message) {
  let packet;
  const decoder = new Decoder();
  decoder.on("decoded", (p) => (packet = p));
  decoder.add(message);
  return packet;
}

const drop = (o) => Object.fromEntries(Object.entries(o).filter(([, v]) => v !== undefined));

// The key order and the extra keys of those who send: the Node server, the official client, and ours.
const senders = {
  server: ({ type, nsp, id, data }) => (type === ACK ? { id, type, data, nsp } : { ...drop({ type, data, id }), nsp }),
  client: ({ type, nsp, id, data }) => {
    if (type === ACK) return { type, id, data, nsp };
    if (type === EVENT) return { ...drop({ type, data, options: { compress: true }, id }), nsp };
    return { type, data, nsp };
  },
};

// Packets that break the rules, or nearly. A Buffer is the message itself.
const attempts = [
  ["type 5", { type: 5, data: ["x"], nsp: "/" }],
  ["type -1", { type: -1, data: ["x"], nsp: "/" }],
  ["type of text", { type: "2", data: ["x"], nsp: "/" }],
  ["type of a fraction", { type: 2.5, data: ["x"], nsp: "/" }],
  ["no type", { data: ["x"], nsp: "/" }],
  ["no namespace", { type: EVENT, data: ["x"] }],
  ["namespace of a number", { type: EVENT, data: ["x"], nsp: 1 }],
  ["event of an object", { type: EVENT, data: {}, nsp: "/" }],
  ["event without data", { type: EVENT, nsp: "/" }],
  ["acknowledgement of text", { type: ACK, id: 1, data: "x", nsp: "/" }],
  ["auth of an array", { type: CONNECT, data: [], nsp: "/" }],
  ["auth of null", { type: CONNECT, data: null, nsp: "/" }],
  ["disconnect with data", { type: DISCONNECT, data: {}, nsp: "/" }],
  ["error without data", { type: 4, nsp: "/" }],
  ["error of a number", { type: 4, data: 1, nsp: "/" }],
  ["id of text", { type: EVENT, data: ["x"], id: "1", nsp: "/" }],
  ["id of null", { type: EVENT, data: ["x"], id: null, nsp: "/" }],
  ["id of a fraction", { type: EVENT, data: ["x"], id: 1.5, nsp: "/" }],
  ["byte behind the packet", Buffer.from("83a47479706502a46461746191a178a36e7370a12f00", "hex")],
  ["empty map", Buffer.from("80", "hex")],
  ["unused byte", Buffer.from("c1", "hex")],
  ["undefined id", { type: EVENT, data: ["x"], id: undefined, nsp: "/" }],
  ["undefined data", { type: CONNECT, data: undefined, nsp: "/" }],
  ["other keys", { a: [1], type: EVENT, b: { c: 1 }, data: ["x"], nsp: "/" }],
  ["eleven binary values", { type: EVENT, data: ["x", ...Array.from({ length: 11 }, (_, i) => Buffer.from([i]))], nsp: "/" }],
  ["reserved event", { type: EVENT, data: ["connect"], nsp: "/" }],
  ["event without a name", { type: EVENT, data: [], nsp: "/" }],
  ["auth with a binary value", { type: CONNECT, data: { a: Buffer.from([1]) }, nsp: "/" }],
  ["false placeholder", { type: EVENT, data: ["x", Buffer.from([1]), { _placeholder: true, num: 0 }], nsp: "/" }],
];

export function msgpackVectors(parser, notepack) {
  const encode = (packet) => {
    const messages = new parser.Encoder().encode(packet);
    assert.equal(messages.length, 1);
    return messages[0];
  };
  const packets = [...since4, ...common, ...odd].map(([name, packet]) => {
    const want = meaning(packet);
    const { type, nsp, id } = packet;
    const canonical = encode({ ...drop({ type, data: revive(want), id }), nsp });
    const back = decode(parser, canonical);
    assert.deepEqual(drop(back), drop({ type, data: revive(want), id, nsp }), name);
    const received = Object.entries(senders).map(([who, order]) => [who, hex(encode(order(packet)))]);
    return { name, ...want, canonical: hex(canonical), ...Object.fromEntries(received) };
  });
  return {
    packets,
    attempts: attempts.map(([name, packet]) => {
      const message = Buffer.isBuffer(packet) ? packet : notepack.encode(packet);
      const vector = { name, hex: hex(message) };
      try {
        return { ...vector, accepted: meaning(decode(parser, message)) };
      } catch (err) {
        return { ...vector, refused: err.message };
      }
    }),
  };
}

const values = [
  ["null", null],
  ["true", true],
  ["false", false],
  ...[0, 1, 127, 128, 255, 256, 65535, 65536, 4294967295, 4294967296, Number.MAX_SAFE_INTEGER, -1, -32, -33, -128, -129,
    -32768, -32769, -2147483648, -2147483649, Number.MIN_SAFE_INTEGER].map((n) => [`integer ${n}`, n]),
  ...[0.1, -0.5, 1e15 + 0.5, 1e-7, 5e-324, 123456789.125].map((n) => [`number ${n}`, n]),
  ["not a number", NaN],
  ["infinity", Infinity],
  ["minus zero", -0],
  ["empty text", ""],
  ["text", "é€😀 \u0000\"\\\u2028"],
  ["text of 31 bytes", "a".repeat(31)],
  ["text of 32 bytes", "a".repeat(32)],
  ["text of 256 bytes", "é".repeat(128)],
  ["empty array", []],
  ["array of 16", Array(16).fill(1)],
  ["empty object", {}],
  ["object of 16", Object.fromEntries(Array.from({ length: 16 }, (_, i) => [`k${i}`, i]))],
  ["undefined in an array", [undefined, 1]],
  ["undefined in an object", { a: undefined, b: 1 }],
  ["date", new Date(1767323045678)],
  ["date before 1970", new Date(-1)],
  ["date beyond 2106", new Date(5e12)],
  ["last date", new Date(8.64e15)],
  ["buffer", Buffer.from([1, 2, 3])],
  ["empty buffer", Buffer.alloc(0)],
  ["buffer of 256 bytes", Buffer.alloc(256, 7)],
  ["ArrayBuffer of one byte", new Uint8Array([9]).buffer],
  ["ArrayBuffer of eight bytes", new Uint8Array([1, 2, 3, 4, 5, 6, 7, 8]).buffer],
  ["ArrayBuffer of 256 bytes", new Uint8Array(256).fill(3).buffer],
  ["typed array", new Uint8Array([4, 5])],
  ["binary values in a tree", { a: [Buffer.from([1])], b: { c: Buffer.from([2]) } }],
];

// valueVectors are of single values, in the forms of both versions of notepack.io: the second is that of the parser
// and of older adapters, the third that of @socket.io/redis-adapter 8.
export function valueVectors(notepack2, notepack3) {
  return {
    values: values.map(([name, value]) => {
      const { data, attachments } = meaning({ data: value });
      const json = revive({ data, attachments });
      const canonical = notepack3.encode(json);
      assert.deepEqual(notepack2.decode(canonical), json, name);
      assert.deepEqual(notepack3.decode(canonical), json, name);
      return { name, data, attachments, canonical: hex(canonical), notepack2: hex(notepack2.encode(value)), notepack3: hex(notepack3.encode(value)) };
    }),
  };
}
