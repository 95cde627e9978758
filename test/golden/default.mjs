import assert from "node:assert/strict";
import { CONNECT, CONNECT_ERROR, common, meaning, message, odd, since4 } from "./packets.mjs";

// decode feeds one decoder and returns the packets. Decoders of version 3 leave the binary types as they are.
function decode({ Decoder }, messages) {
  const packets = [];
  const decoder = new Decoder();
  decoder.on("decoded", (p) => packets.push({ ...p, type: p.type > CONNECT_ERROR ? p.type - 3 : p.type }));
  for (const m of messages) decoder.add(m);
  return packets;
}

// encoded makes vectors of what encode returns for each packet, once the official decoder has read it.
function encoded(parser, cases, encode) {
  return cases.map(([name, packet]) => {
    const messages = encode(packet);
    const want = meaning(packet);
    assert.deepEqual(decode(parser, messages).map(meaning), [want]);
    return { name, ...want, messages: messages.map(message) };
  });
}

const placeholder = (num) => ({ _placeholder: true, num });
const binaryEvent = (n, ...args) => `5${n}-${JSON.stringify(["b", ...args])}`;

// Sequences of messages that break the rules, or nearly.
const attempts = [
  ["unknown type", ["7"]],
  ["no type", ["x"]],
  ["binary event without attachments", ['5["b"]']],
  ["binary event without a number", ['5-["b"]']],
  ["no attachments", ['50-["b"]']],
  ["attachments without the dash", ['51["b"]']],
  ["negative attachments", ['5-1-["b"]']],
  ["attachments of a fraction", ['51.5-["b"]']],
  ["eleven attachments", [binaryEvent(11, ...Array.from({ length: 11 }, (_, i) => placeholder(i)))]],
  ["auth of an array", ["0[]"]],
  ["auth of null", ["0null"]],
  ["disconnect with data", ["1{}"]],
  ["event of an object", ["2{}"]],
  ["event without a name", ["2[]"]],
  ["event with a name of null", ["2[null]"]],
  ["event with a name of an object", ["2[{}]"]],
  ["open array", ['2["a"']],
  ["text behind the array", ['2["a"]x']],
  ["reserved: connect", ['2["connect"]']],
  ["reserved: connect_error", ['2["connect_error"]']],
  ["reserved: disconnect", ['2["disconnect"]']],
  ["reserved: disconnecting", ['2["disconnecting"]']],
  ["reserved: newListener", ['2["newListener"]']],
  ["reserved: removeListener", ['2["removeListener"]']],
  ["reserved in an escaped form", ['2["\\u0063onnect"]']],
  ["reserved in a binary event", ['51-["connect",{"_placeholder":true,"num":0}]', Buffer.from([1])]],
  ["acknowledgement of an object", ["3{}"]],
  ["error of a number", ["41"]],
  ["error of an array", ["4[]"]],
  ["binary message first", [Buffer.from([1])]],
  ["text while attachments are missing", [binaryEvent(1, placeholder(0)), '2["a"]']],
  ["one attachment too many", [binaryEvent(1, placeholder(0)), Buffer.from([1]), Buffer.from([2])]],
  ["number beyond the attachments", [binaryEvent(1, placeholder(1)), Buffer.from([1])]],
  ["negative number", [binaryEvent(1, placeholder(-1)), Buffer.from([1])]],
  ["number of text", [binaryEvent(1, placeholder("0")), Buffer.from([1])]],
  ["placeholder without a number", [binaryEvent(1, { _placeholder: true }), Buffer.from([1])]],
  ["false placeholder with a third key", [binaryEvent(1, placeholder(0), { _placeholder: true, num: 9, x: 1 }), Buffer.from([1])]],
  ["false placeholder with an escaped key", ['51-["b",{"\\u005fplaceholder":true,"num":9}]', Buffer.from([1])]],
  ["event without data", ["2"]],
  ["namespace without a comma", ["0/admin"]],
  ["namespace up to the end", ["2/admin"]],
  ["main namespace by name", ['2/,["a"]']],
  ["query behind the namespace", ["0/x?token=a%20b&y=,"]],
  ["white space in the data", ['2[ "a" , { "b" : [ 1 ] } ]']],
  ["other order of a placeholder", ['51-["b",{"num": 0,"_placeholder":true}]', Buffer.from([1])]],
  ["attachment that nothing names", ['51-["b"]', Buffer.from([1])]],
  ["lone surrogate in an escape", ['2["\\ud800"]']],
];

function attempted(parser) {
  return attempts.map(([name, messages]) => {
    const vector = { name, messages: messages.map(message) };
    try {
      const [packet] = decode(parser, messages);
      return { ...vector, accepted: meaning(packet) };
    } catch (err) {
      return { ...vector, refused: err.message };
    }
  });
}

// defaultVectors are those of protocol 5 of Socket.IO: clients from version 3 on.
export function defaultVectors(parser) {
  const encode = (packet) => new parser.Encoder().encode(packet);
  return { packets: encoded(parser, [...since4, ...common, ...odd], encode), attempts: attempted(parser) };
}

// protocol3Vectors are those of clients of version 2. Their encoder is told whether there are binary values.
export function protocol3Vectors(parser) {
  const encode = (packet) => {
    let messages;
    const binary = meaning(packet).attachments !== undefined;
    new parser.Encoder().encode({ ...packet, type: packet.type + (binary ? 3 : 0) }, (list) => (messages = list));
    return messages;
  };
  const queries = [["connect with a query", { type: CONNECT, nsp: "/x?token=a%20b&y=%2C" }]];
  return { packets: encoded(parser, [...queries, ...common, ...odd], encode) };
}
