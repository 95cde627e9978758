import assert from "node:assert/strict";

const hex = (b) => Buffer.from(b).toString("hex");
const message = (data) => ({ type: "message", data });

const payloads = [
  ["one message", [message("hello")]],
  ["two messages and a ping", [message("hello"), { type: "ping" }, message("world")]],
  ["every type", [{ type: "open", data: '{"sid":"x"}' }, { type: "ping" }, { type: "ping", data: "probe" }, { type: "pong" }, { type: "pong", data: "probe" }, message("m"), { type: "upgrade" }, { type: "noop" }, { type: "close" }]],
  ["empty message", [message("")]],
  ["text beyond ASCII", [message('2["t","é€😀"]'), message("ü"), message("\u2028"), message("a")]],
  ["text with colons and digits", [message("1:2"), message(":"), message("44:")]],
  ["long text", [message("x".repeat(100)), message("😀".repeat(60))]],
  ["binary message", [message(Buffer.from([1, 2, 3, 4]))]],
  ["empty binary message", [message(Buffer.alloc(0))]],
  ["text and binary messages", [message('51-["b","é",{"_placeholder":true,"num":0}]'), message(Buffer.from([1, 2, 255]))]],
  ["binary between text", [message("a"), message(Buffer.from([0])), message("é"), message(Buffer.from([0x1e, 0xff, 0x3a])), message("b")]],
  ["binary of all lengths of base64", [0, 1, 2, 3, 4].map((n) => message(Buffer.alloc(n, 0xfb)))],
  ["long binary message", [message(Buffer.alloc(120, 9))]],
];

const packets = (list) => list.map(({ type, data }) => {
  if (typeof data === "string" && data !== "") return { type, text: data };
  return Buffer.isBuffer(data) ? { type, hex: hex(data) } : { type };
});

// bodies are what a client may POST.
const bodies4 = ["", "\x1e", "4a\x1e", "4a\x1e\x1e4b", "7", "x", "4a\x1e9\x1e4b", "b", "bAQIDBA", "bAQIDBA==", "b_-_-", "b/+/+", "3", "3probe", "44", "4é\x1e4😀"];

// payload4Vectors: of each payload the body of a poll, and the messages of a WebSocket.
export function payload4Vectors(parser) {
  const decoded = (body) => packets(parser.decodePayload(body));
  return {
    payloads: payloads.map(([name, list]) => {
      let body;
      parser.encodePayload(list, (b) => (body = b));
      assert.deepEqual(decoded(body), packets(list), name);
      const websocket = list.map((packet) => {
        let encoded;
        parser.encodePacket(packet, true, (e) => (encoded = e));
        return typeof encoded === "string" ? { text: encoded } : { hex: hex(encoded) };
      });
      return { name, packets: packets(list), body, websocket };
    }),
    bodies: bodies4.map((body) => ({ body, packets: decoded(body) })),
  };
}

const bodies3 = ["", "0:", "1:2", "2:4a", "2:4a2:4b", "2:4é", "3:4😀", "3:4a", "2:4ab", "2", ":", "x:4a", "-1:4a", "1:7", "2:4a1:9", "6:b4AQL/", "2:b4", "0:2:4a", "02:4a", "2:4a1"];
const binaryBodies3 = ["0002ff3461", "0002ff34610102ff0401", "000105ff" + Buffer.from("4" + "é".repeat(7)).toString("hex"), "0105ff04010203ff", "0001ff37", "0101ff04"];

// payload3Vectors: of each payload the body for a client that takes binary data, and the one for a client that asked
// for base64; for the text of the latter the UTF-16 units that are its length.
export function payload3Vectors(server, client) {
  const decode = (parser, body) => {
    const list = [];
    parser.decodePayload(body, (packet) => {
      list.push(packet);
    });
    return packets(list);
  };
  const both = (body, name) => {
    const found = decode(server, body);
    assert.deepEqual(decode(client, body), found, name);
    return found;
  };
  const encode = (parser, list, binary) => {
    let body;
    parser.encodePayload(list, binary, (b) => (body = b));
    return body;
  };
  return {
    payloads: payloads.map(([name, list]) => {
      const body = encode(server, list, true);
      const base64 = encode(server, list, false);
      assert.deepEqual(encode(client, list, true), body, name);
      assert.equal(encode(client, list, false), base64, name);
      assert.deepEqual(both(base64, name), packets(list), name);
      assert.deepEqual(both(body, name), packets(list), name);
      const websocket = list.map((packet) => {
        let encoded;
        server.encodePacket(packet, true, false, (e) => (encoded = e));
        return typeof encoded === "string" ? { text: encoded } : { hex: hex(encoded) };
      });
      return {
        name, packets: packets(list),
        body: typeof body === "string" ? body : undefined, octets: typeof body === "string" ? undefined : hex(body),
        base64, units: base64.length, websocket,
      };
    }),
    bodies: bodies3.map((body) => ({ body, packets: both(body, body) })),
    "binary bodies": binaryBodies3.map((octets) => ({ octets, packets: both(Buffer.from(octets, "hex"), octets) })),
  };
}
