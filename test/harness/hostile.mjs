// Messages that no server writes.
import { encode } from "notepack.io";

/** The same sequence of numbers below limit each time. */
function numbers(seed) {
  let state = seed;
  return (limit) => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return Math.floor(state / 2 ** 32 * limit);
  };
}

const packet = { type: 2, data: ["hostile", 1], nsp: "/" };
const opts = { rooms: [], except: [], flags: {} };
const uid = "h0St1L";

// Of each kind one that is well formed, but for who it is for: nobody.
const nobody = { ...opts, rooms: ["nobody"] };
const genuine = [
  encode([uid, packet, nobody]), encode([uid, { ...packet, data: ["hostile", Buffer.alloc(100)] }, nobody]),
  encode({ uid, type: 3, nsp: "/", data: { packet, opts: nobody } }), encode({ uid, requestId: "1", type: 8, opts: nobody, packet }),
  Buffer.from(JSON.stringify({ uid, requestId: "1", type: 5, opts: nobody })), Buffer.from(JSON.stringify({ requestId: "1", sockets: [] })),
  Buffer.from(JSON.stringify({ uid, nsp: "/", type: 8, data: { requestId: "1", opts: nobody } })),
  Buffer.from(JSON.stringify({ type: "alive", node: { uid }, mode: "none", prefix: "" })),
];

const wrong = [null, true, -1.5, "", "x", [], {}, { length: 3 }, [["x"], 5]];

/** Values of which one part after the other has another type. */
function* mistaken() {
  yield* wrong;
  for (const value of wrong) {
    yield* [[value, packet, opts], [uid, value, opts], [uid, packet, value]];
    for (const field of Object.keys(packet)) yield [uid, { ...packet, [field]: value }, nobody];
    for (const field of Object.keys(opts)) yield [uid, packet, { ...nobody, [field]: value }];
    for (let type = 0; type <= 12; type++) {
      const request = { uid, requestId: "2", type, opts: nobody, rooms: ["nobody"], packet, data: ["x"], sid: "x", room: "x", close: false, nsp: "/" };
      yield { uid, nsp: "/", type, data: value };
      for (const field of ["opts", "rooms", "packet", "requestId"]) yield { uid, nsp: "/", type, data: { ...request, [field]: value } };
      for (const field of ["opts", "rooms", "packet", "data", "requestId", "sid", "room"]) yield { ...request, [field]: value };
    }
    for (const field of ["sockets", "rooms", "data", "clientCount", "packet", "requestId"]) yield { requestId: "3", [field]: value };
    yield* [{ type: "alive", node: value }, { type: value, node: { uid } }, { type: "hello", node: { uid: value } }];
  }
  // What a server may only say to one client.
  for (const type of [0, 1, 3, 4, 6, 7, -1, 1e9]) yield [uid, { ...packet, type }, opts];
}

function* huge() {
  for (const first of [0x20, 0x00, 0x91, 0x81, 0x5b, 0x7b, 0xff]) yield Buffer.alloc(1 << 20, first);
  // Headers that promise 4 GiB or 4 billion elements.
  for (const header of [0xc6, 0xdb, 0xdd, 0xdf, 0xc9]) {
    yield Buffer.from([header, 255, 255, 255, 255]);
    yield Buffer.concat([Buffer.from([0x93, 0xa6]), Buffer.from(uid), Buffer.from([header, 255, 255, 255, 255])]);
  }
  yield Buffer.from(`{"requestId":"4","sockets":[${"{},".repeat(100_000)}{}]}`);
  yield Buffer.from(`{"a":${"[".repeat(100_000)}${"]".repeat(100_000)}}`);
}

/** Random, truncated and huge messages, and some whose values have wrong types. */
export function hostile() {
  const random = numbers(1);
  const all = [Buffer.alloc(0), ...huge()];
  for (let i = 0; i < 200; i++) all.push(Buffer.from(Array.from({ length: 1 + random(i * 5 + 1) }, () => random(256))));
  for (const whole of genuine) for (let end = 1; end < whole.length; end += 3) all.push(whole.subarray(0, end));
  for (const value of mistaken()) all.push(encode(value), Buffer.from(JSON.stringify(value)));
  return all;
}
