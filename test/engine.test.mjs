// The Engine.IO protocol as it is on the wire, with what clients do wrong.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { before, test } from "node:test";
import { connect, hear, heard } from "./harness/client.mjs";
import { Node } from "./harness/node.mjs";
import { until } from "./harness/program.mjs";
import { Polling, request, Socket } from "./harness/raw.mjs";

const event = "chat message";
const unknownSession = '{"code":1,"message":"Session ID unknown"}';
let node;

before(async () => { node = await Node.serve("n1", { args: ["--max-payload", "100kB"] }); });

const isGone = async (polling) => assert.deepEqual((({ status, body }) => [status, body])(await polling.get()), [400, unknownSession]);
const isAlive = async (polling) => {
  await polling.connect();
  assert.equal((await polling.post('42["chat message","alive"]')).body, "ok");
  assert.match((await polling.get()).body, /42\["chat message","alive"\]/);
};

test("the handshake", async () => {
  const { handshake } = await Polling.open(node);
  assert.equal(handshake.status, 200);
  assert.match(handshake.body, /^0\{"sid":"n1_[\w-]{20}","upgrades":\["websocket"\],"pingInterval":25000,"pingTimeout":20000,"maxPayload":100000\}$/);
  assert.equal(handshake.headers.get("content-type"), "text/plain; charset=UTF-8");
  assert.equal(handshake.headers.get("cache-control"), "no-store");
  const socket = await Socket.open(node);
  const opening = await socket.message(() => true);
  assert.match(opening, /^0\{"sid":"n1_[\w-]{20}","upgrades":\[\],"pingInterval":25000,"pingTimeout":20000,"maxPayload":100000\}$/);
});

for (const [what, query, init, status, body] of [
  ["no transport", { EIO: "4" }, {}, 400, '{"code":0,"message":"Transport unknown"}'],
  ["a foreign transport", { EIO: "4", transport: "pigeon" }, {}, 400, '{"code":0,"message":"Transport unknown"}'],
  ["an unknown session", { EIO: "4", transport: "polling", sid: "n1_AAAAAAAAAAAAAAAAAAAA" }, {}, 400, unknownSession],
  ["a handshake by POST", { EIO: "4", transport: "polling" }, { method: "POST", body: "40" }, 400, '{"code":2,"message":"Bad handshake method"}'],
  ["a handshake by OPTIONS", { EIO: "4", transport: "polling" }, { method: "OPTIONS" }, 400, '{"code":2,"message":"Bad handshake method"}'],
  ["a WebSocket without Upgrade", { EIO: "4", transport: "websocket" }, {}, 400, '{"code":3,"message":"Bad request"}'],
  ["protocol 3", { EIO: "3", transport: "polling" }, {}, 400, '{"code":5,"message":"Unsupported protocol version"}'],
  ["no protocol", { transport: "polling" }, {}, 400, '{"code":5,"message":"Unsupported protocol version"}'],
]) {
  test(`refused: ${what}`, async () => {
    const response = await request(node, query, init);
    assert.deepEqual([response.status, response.body], [status, body]);
    assert.equal(response.headers.get("content-type"), "application/json");
  });
}

test("refused WebSockets get the bare text", async () => {
  const refusal = async (options) => {
    const error = await Socket.open(node, options).then(() => assert.fail("accepted"), (refused) => refused);
    return [error.status, error.body];
  };
  assert.deepEqual(await refusal({ sid: "n1_AAAAAAAAAAAAAAAAAAAA" }), [400, "Session ID unknown"]);
  assert.deepEqual(await refusal({ headers: { origin: "http://elsewhere.test" } }), [400, "Forbidden"]);
  const own = await Socket.open(node, { headers: { origin: node.url } });
  assert.match(await own.connect(), /^[\w-]{20}$/);
});

test("several packets in one POST, binary too, are handled in order", async () => {
  const polling = await Polling.open(node);
  await polling.connect();
  await polling.post('42["chat message",1]', '451-["chat message",{"_placeholder":true,"num":0}]', "bAQID", '42["chat message",2]');
  let got = "";
  while (!got.includes('"chat message",2')) got += `${(await polling.get()).body}\x1e`;
  assert.deepEqual(got.split("\x1e").filter(Boolean), [
    '42["chat message",1]', '451-["chat message",{"_placeholder":true,"num":0}]', "bAQID", '42["chat message",2]',
  ]);
});

test("a body above the limit is refused, and the session lives on", async () => {
  const polling = await Polling.open(node);
  const response = await polling.post("4" + "x".repeat(100_000));
  assert.equal(response.status, 413);
  await isAlive(polling);
});

test("a method that is not known is refused, and the session lives on", async () => {
  const polling = await Polling.open(node);
  assert.equal((await polling.send("PUT", "40")).status, 500);
  await isAlive(polling);
});

test("two polls at a time end the session", async () => {
  const polling = await Polling.open(node);
  const answers = await Promise.all([polling.get(), polling.get()]);
  assert.deepEqual(answers.map(({ status, body }) => [status, body]).sort(), [[200, "1"], [400, ""]]);
  await isGone(polling);
});

test("a body of bytes ends the session", async () => {
  const polling = await Polling.open(node);
  assert.equal((await polling.send("POST", Buffer.from([4, 48]), { "content-type": "application/octet-stream" })).status, 400);
  await isGone(polling);
});

for (const [what, body] of Object.entries({
  "no packet": "",
  "an unknown packet type": "9",
  "an empty packet": '42["chat message",1]\x1e\x1e',
  "base64 that is none": "b!!!",
  "text that is not UTF-8": Buffer.concat([Buffer.from('42["chat message","'), Buffer.from([0xff, 0xfe]), Buffer.from('"]')]),
})) {
  test(`a POST with ${what} is accepted and ends the session`, async () => {
    const polling = await Polling.open(node);
    await polling.connect();
    const { status, body: answer } = await polling.send("POST", body);
    assert.deepEqual([status, answer], [200, "ok"]);
    await until("the session is gone", async () => (await polling.get()).status === 400);
  });
}

test("a client that closes ends its poll, also one that the closing overtakes", async () => {
  for (let i = 0; i < 50; i++) {
    const polling = await Polling.open(node);
    await polling.connect();
    const waiting = polling.get();
    assert.equal((await polling.post("1")).body, "ok");
    const { status, body } = await waiting;
    assert.deepEqual([status, body], [200, "6"]);
    await isGone(polling);
  }
});

for (const [what, packet] of Object.entries({
  "a packet type that is none": "49",
  "an event without a name": "42[]",
  "an event that is no array": '42{"a":1}',
  "broken JSON": '42["chat message",',
  "a reserved event": '42["connect"]',
  "nesting beyond a thousand levels": `42["chat message",${"[".repeat(1000)}${"]".repeat(1000)}]`,
  "eleven attachments": '4511-["chat message"]',
  "a second packet before its attachments": '451-["chat message",{"_placeholder":true,"num":0}]\x1e42["chat message"]',
})) {
  test(`${what} ends that connection only`, async () => {
    const [polling, socket] = [await Polling.open(node), await Socket.open(node)];
    await Promise.all([polling.connect(), socket.connect()]);
    await polling.post(...packet.split("\x1e"));
    for (const text of packet.split("\x1e")) socket.ws.send(text);
    await socket.end();
    await until("the polling session is gone", async () => (await polling.get()).status === 400);
    await isAlive(await Polling.open(node));
  });
}

for (const [what, send, code] of [
  ["a ping of the client", (ws) => ws.send("2"), 1005],
  ["an unknown packet type", (ws) => ws.send("9"), 1005],
  ["an empty message", (ws) => ws.send(""), 1005],
  ["a message above the limit", (ws) => ws.send("4" + "x".repeat(100_000)), 1009],
  ["text that is not UTF-8", (ws) => ws.send(Buffer.from([0x34, 0xff]), { binary: false }), 1007],
]) {
  test(`${what} closes the WebSocket with ${code}`, async () => {
    const socket = await Socket.open(node);
    await socket.connect();
    send(socket.ws);
    assert.equal((await socket.end()).code, code);
  });
}

test("the upgrade, step by step", async () => {
  const polling = await Polling.open(node);
  await polling.connect();
  const waiting = polling.get();
  const socket = await Socket.open(node, { sid: polling.sid });
  socket.ws.send("2probe");
  await socket.message((text) => text === "3probe");
  assert.equal((await waiting).body, "6", "the waiting poll is ended");

  const other = await connect(node.url);
  other.emit(event, "during the probe");
  await hear([other], event, 1);
  assert.equal((await polling.get()).body, '42["chat message","during the probe"]', "polling serves until the commit");
  other.emit(event, "before the commit");
  await hear([other], event, 2);
  socket.ws.send("5");
  await socket.message((text) => text === '42["chat message","before the commit"]');
  other.emit(event, "after the commit");
  await socket.message((text) => text === '42["chat message","after the commit"]');
  assert.deepEqual(socket.messages, ["3probe", '42["chat message","before the commit"]', '42["chat message","after the commit"]']);
  const late = await polling.get();
  assert.deepEqual([late.status, late.body], [400, '{"code":3,"message":"Bad request"}']);
  const second = await Socket.open(node, { sid: polling.sid });
  await second.end();
  other.emit(event, "still");
  await socket.message((text) => text.includes("still"));
});

test("a failed upgrade leaves polling as it was", async () => {
  const polling = await Polling.open(node);
  const socket = await Socket.open(node, { sid: polling.sid });
  socket.ws.send("nonsense");
  await socket.end();
  await isAlive(polling);
  const again = await Socket.open(node, { sid: polling.sid });
  again.ws.send("2probe");
  await again.message((text) => text === "3probe");
});

test("a reader that never drains is cut by name; the others are served meanwhile", async () => {
  const own = await Node.serve("n2"); // nobody else is slow here
  const slow = await Socket.open(own);
  const id = await slow.connect();
  const healthy = await connect(own.url);
  slow.ws.pause();
  const closes = () => own.metric("chorus_slow_consumer_closes_total");
  const before = await closes() ?? 0;
  const text = "x".repeat(90_000);
  let sent = 0;
  while ((await closes() ?? 0) === before && sent < 1000) {
    for (let i = 0; i < 5; i++) healthy.emit(event, sent++, text);
    await hear([healthy], event, sent);
    const waiting = await own.metric("chorus_write_queue_bytes");
    assert.ok(waiting <= 2 * (1024 * 1024 + 100_000), `${waiting} bytes wait for two clients`);
  }
  assert.equal(await closes(), before + 1, `after ${sent} messages`);
  assert.equal(await own.metric("chorus_connections_closed_total", { reason: "slow_consumer" }), 1);
  assert.deepEqual(heard(healthy, event).map(([i]) => i), [...Array(sent).keys()]);
  const record = await until("the log tells it", () => own.log.find(({ msg, socket }) => msg === "user disconnected" && socket === id));
  assert.equal(record.reason, "slow consumer");
  await until("nothing waits for it any more", async () => await own.metric("chorus_write_queue_bytes") === 0);
  slow.ws.resume();
  await slow.end();
});

test("the client's bundles are served, compressed and revalidated", async () => {
  const dist = new URL("node_modules/socket.io-client/dist/", import.meta.url);
  for (const name of ["socket.io.js", "socket.io.min.js", "socket.io.esm.min.js", "socket.io.msgpack.min.js"]) {
    for (const [file, type] of [[name, /^(application|text)\/javascript/], [`${name}.map`, /^application\/json/]]) {
      const url = `${node.url}/socket.io/${file}`;
      const original = readFileSync(new URL(file, dist), "utf8");
      for (const encoding of ["identity", "gzip", "br"]) {
        const response = await fetch(url, { headers: { "accept-encoding": encoding } });
        assert.equal(response.status, 200, file);
        assert.match(response.headers.get("content-type"), type, file);
        assert.equal(response.headers.get("content-encoding") ?? "identity", encoding, file);
        assert.equal(await response.text(), original, `${file} as ${encoding}`);
        const again = await fetch(url, { headers: { "accept-encoding": encoding, "if-none-match": response.headers.get("etag") } });
        assert.equal(again.status, 304, `${file} as ${encoding}`);
      }
    }
  }
  assert.notEqual((await fetch(`${node.url}/socket.io/socket.io.slim.js`)).status, 200);
  assert.notEqual((await fetch(`${node.url}/socket.io/README.md`)).status, 200);
});

test("the metrics name what was refused", async () => {
  assert.ok(await node.metric("chorus_engine_requests_rejected_total", { reason: "unknown_sid" }) >= 1);
  assert.ok(await node.metric("chorus_engine_requests_rejected_total", { reason: "too_large" }) >= 1);
  assert.ok(await node.metric("chorus_engine_requests_rejected_total", { reason: "overlap" }) >= 1);
  assert.ok(await node.metric("chorus_handshakes_total", { result: "unknown_transport" }) >= 2);
  assert.ok(await node.metric("chorus_connections_closed_total", { reason: "parse_error" }) >= 1);
});
