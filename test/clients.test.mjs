// Official clients of every age and language, by every transport, do everything that a client can do: on a server of ours
// and, so that the tests themselves are tried, on the Node server.
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { ways } from "./harness/client.mjs";
import { kinds, Peer } from "./harness/kinds.mjs";
import { Node } from "./harness/node.mjs";
import { until } from "./harness/program.mjs";
import { Wire } from "./harness/wire.mjs";

const all = ["/", "/other", "/team-7", "/club-x"];
const servers = { Chorus: {}, Node: { reference: true } };
const sorted = (list) => [...list].sort();
let unique = 0;
const name = (what) => `${what} ${unique++}`;

const texts = ["é😀 \u2028<&>\u0000\"\\", "", 0, -1.5, 1.25e-9, 2 ** 53 - 1, true, null, [], {}, [[["deep", { a: { b: [null] } }]]], "x".repeat(70_000)];
const bytes = [
  Buffer.from([0, 1, 254, 255]), { file: { data: Buffer.from("nested"), name: "é" }, list: [1, Buffer.from("in a list")] },
  Buffer.alloc(70_000, 7), "between", Buffer.alloc(1), { _placeholder: false, num: 1 },
];

/** The answers to a broadcast, and whether some are missing. */
const polled = async (joined, ...args) => (await joined.call("poll", ...args)).slice(0, 2);

/** Everything that one connection can do, with the cell's peer: in /, /other, /team-7 and /club-x. */
const features = {
  async "the server knows the client by its id"({ kind, way, peer }) {
    for (const [at, joined] of peer.namespaces) {
      const [state] = await joined.call("state");
      const transport = way === "polling" ? "polling" : "websocket";
      const seen = { id: state.id, transport: state.transport, EIO: state.EIO, q: state.q, recovered: state.recovered };
      assert.deepEqual(seen, { id: joined.id, transport, EIO: String(kind.protocol), q: "a&b=é", recovered: false }, at);
      assert.deepEqual(state.rooms, [joined.id], at);
      if (kind.protocol === 3 && at !== "/") assert.equal(joined.id, `${at}#${peer.in().id}`);
    }
  },

  async "text both ways"({ peer }) {
    for (const joined of peer.namespaces.values()) {
      joined.emit("again", "text", ...texts);
      joined.emit("again", "none");
      assert.deepEqual(await joined.hears("text"), [texts]);
      assert.deepEqual(await joined.hears("none"), [[]]);
    }
  },

  async "binary both ways"({ peer }) {
    for (const joined of peer.namespaces.values()) {
      joined.emit("again", "binary", ...bytes);
      joined.emit("again", "most", ...Array.from({ length: 10 }, (_, i) => Buffer.from([i])));
      assert.deepEqual(await joined.hears("binary"), [bytes]);
      assert.deepEqual(await joined.hears("most"), [Array.from({ length: 10 }, (_, i) => Buffer.from([i]))]);
    }
  },

  async "send, both ways"({ peer }) {
    peer.in().emit("message", "words", Buffer.from("bytes"));
    assert.deepEqual(await peer.in().hears("message"), [["words", Buffer.from("bytes")]]);
  },

  async "the server acknowledges"({ peer }) {
    for (const joined of peer.namespaces.values()) {
      assert.deepEqual(await joined.call("echo", ...texts), texts);
      assert.deepEqual(await joined.call("echo", ...bytes), bytes);
      assert.deepEqual(await joined.call("echo"), []);
    }
    const many = Array.from({ length: 50 }, (_, i) => peer.in().call("echo", i));
    assert.deepEqual(await Promise.all(many), Array.from({ length: 50 }, (_, i) => [i]));
  },

  async "the client acknowledges"({ peer }) {
    for (const joined of peer.namespaces.values()) {
      assert.deepEqual(await joined.call("ask", ...texts), texts);
      assert.deepEqual(await joined.call("ask", ...bytes), bytes);
      assert.deepEqual(await joined.call("ask"), []);
    }
  },

  async "clients acknowledge a broadcast"({ peer, witness }) {
    const room = name("answering");
    assert.deepEqual(await polled(peer.in(), { to: [room] }, "nobody"), [[], false]);
    for (const joined of [peer.in(), witness.in()]) await joined.call("join", [room]);
    for (const value of ["text", Buffer.from("bytes")]) {
      assert.deepEqual(await polled(peer.in(), { to: [room] }, value, "not the first"), [[value, value], false]);
      assert.deepEqual(await polled(peer.in(), { to: [room], sender: true }, value), [[value], false]);
    }
  },

  async "rooms"({ peer, witness }) {
    const [red, blue] = [name("red"), name("blue")];
    const [ours, theirs] = [peer.in(), witness.in()];
    const those = ([rooms]) => sorted(rooms.filter((room) => [red, blue].includes(room)));
    assert.deepEqual(those(await ours.call("join", [red, blue])), sorted([red, blue]));
    await theirs.call("join", [blue]);
    for (const [what, target, expected] of [
      ["a room", { to: [red] }, [ours]],
      ["two rooms, once each", { to: [red, blue] }, [ours, theirs]],
      ["a room but the sender", { to: [blue], sender: true }, [theirs]],
      ["a room except another", { to: [blue], except: [red] }, [theirs]],
      ["an id", { to: [theirs.id] }, [theirs]],
      ["without compression", { to: [blue], uncompressed: true }, [ours, theirs]],
    ]) {
      const [event, fence] = [name(what), name("fence")];
      ours.emit("emit", target, event, 1, Buffer.from("2"));
      ours.emit("emit", { to: [blue] }, fence);
      for (const joined of [ours, theirs]) {
        await joined.hears(fence);
        assert.deepEqual(joined.got(event), expected.includes(joined) ? [[1, Buffer.from("2")]] : [], `${what}: ${joined}`);
      }
    }
    assert.deepEqual(those(await ours.call("leave", [red])), [blue]);
    assert.deepEqual(await polled(ours, { to: [red] }), [[], false]);
  },

  async "namespaces are apart"({ peer, witness }) {
    const room = name("same");
    const ours = [...peer.namespaces.values()];
    for (const joined of ours) await joined.call("join", [room]);
    for (const joined of ours) {
      const event = name("apart");
      await joined.call("poll", { to: [room] });
      joined.emit("emit", {}, event, joined.name);
      await joined.hears(event);
      for (const other of ours) {
        await other.call("echo");
        assert.deepEqual(other.got(event), other === joined ? [[joined.name]] : [], `${other}`);
      }
    }
    const event = name("to all");
    witness.in().emit("emit", {}, event);
    await peer.in().hears(event);
  },

  async "order, also while the transport changes"({ kind, way, url }) {
    const peer = await Peer.open(kind, url, way);
    const joined = peer.in();
    if (kind.python) await joined.until("connection", () => joined.connected);
    const number = (i) => (i % 3 || kind.threads ? [i] : [i, Buffer.from([i])]);
    for (let i = 0; i < 60; i++) joined.emit("again", "number", ...number(i));
    await peer.connected();
    for (let i = 60; i < 120; i++) joined.emit("again", "number", ...number(i));
    const heard = await joined.hears("number", 120);
    if (kind.threads) heard.sort(([a], [b]) => a - b);
    assert.deepEqual(heard, Array.from({ length: 120 }, (_, i) => number(i)));
    await peer.end();
  },

  async "a namespace that refuses"({ kind, way, url }) {
    const peer = await Peer.open(kind, url, way, ["/", "/guarded", "/nowhere", "/club-y"], { auth: { word: "open" } });
    const [guarded, nowhere, club] = ["/guarded", "/nowhere", "/club-y"].map((at) => peer.in(at));
    for (const joined of [guarded, nowhere, club]) await joined.until("a refusal", () => joined.refusals.length === 1);
    const data = { code: 401, word: "open" };
    assert.deepEqual(guarded.refusals, [kind.protocol === 3 ? { data } : { message: "not allowed", data }]);
    for (const { refusals: [{ message, data: old }] } of [nowhere, club]) assert.equal(message ?? old.message, "Invalid namespace");
    await peer.in().until("connection", () => peer.in().connected);
    assert.deepEqual(await peer.in().call("echo", 1), [1], "the connection lives on");
    assert.deepEqual([guarded, nowhere, club].map(({ connected }) => connected), [false, false, false]);
    await peer.end();
  },

  async "a namespace that admits"({ kind, way, url }) {
    const options = { auth: { word: "sesame", name: "Ada é" }, query: { q: "from the query" } };
    const peer = await Peer.connect(kind, url, way, ["/", "/guarded"], options);
    assert.deepEqual(await peer.in("/guarded").hears("welcome"), [["Ada é", "from the query"]]);
    await peer.end();
  },

  async "leaving one namespace of several"({ kind, way, url }) {
    const peer = await Peer.connect(kind, url, way, ["/", "/other"]);
    const [main, other] = [peer.in(), peer.in("/other")];
    other.emit("kick", false);
    await other.until("its end", ({ ends }) => ends.length === 1);
    assert.deepEqual(await main.call("echo", "here"), ["here"]);
    if (!kind.python) { // which joins namespaces only when it connects
      await peer.act("connect", "/other");
      await other.until("another connection", ({ connected }) => connected);
      await peer.act("disconnect", "/other");
      assert.deepEqual(await main.call("echo", "still here"), ["still here"]);
      assert.deepEqual(other.ends, ["io server disconnect", "io client disconnect"]);
    }
    await peer.end();
  },
};

/**
 * How a connection ends: what is done, then the reasons that the server and the client are told. They depend on what was under
 * way: a poll that was answered as the network broke is missed by the heartbeat only.
 */
const lost = ["transport close", "transport error", "ping timeout"];
const endings = {
  "the client disconnects": [(peer) => peer.act("disconnect", "/"), ["client namespace disconnect"], ["io client disconnect"]],
  "the server disconnects": [(peer) => peer.in().emit("kick", false), ["server namespace disconnect"], ["io server disconnect"]],
  "the server disconnects all": [(peer) => peer.in().emit("kick", true), ["server namespace disconnect"], ["io server disconnect"]],
  "the client closes the connection": [(peer) => peer.act("hangUp"), lost, ["forced close"]],
  "the network breaks": [(_, wire) => wire.cut(), lost, lost],
};

for (const [ending, [end, server, client]] of Object.entries(endings)) {
  features[`leaving: ${ending}`] = async ({ kind, way, url, wire, node, witness }) => {
    const peer = await Peer.connect(kind, url, way);
    const { id } = peer.in();
    await peer.in().call("join", ["hall"]);
    await wire.quiet(); // a client that polls waits for the answer
    await end(peer, wire);
    const ends = (event) => witness.in().got(event).filter(([who]) => who === id);
    try {
      await until(() => `${peer.in()} has left, ${ending}`, () => ends("left").length > 0);
      const [[, why, rooms]] = ends("leaving");
      // python-socketio hangs up right behind its DISCONNECT, which has a data field in MessagePack that the format forbids.
      const hasty = kind.python && end === endings["the client disconnects"][0] ? [...lost, "forced close"] : [];
      assert.ok([...server, ...hasty].includes(why), `the server saw: ${why}`);
      assert.deepEqual(sorted(rooms), sorted(["hall", id]));
      assert.deepEqual(ends("left"), [[id, why, 0]]);
      await peer.in().until("its end", (joined) => joined.ends.length > 0);
      if (!kind.python) assert.ok(client.includes(peer.in().ends[0]), `the client saw: ${peer.in().ends[0]}`);
    } finally {
      wire.lead(node);
      await peer.end();
    }
  };
}

for (const [server, start] of Object.entries(servers)) {
  describe(`clients of ${server}`, { concurrency: 3 }, () => {
    const nodes = {};
    const witnesses = {};

    before(async () => {
      for (const parser of ["default", "msgpack"]) {
        const args = ["--eio3", "--parser", parser, "--ping-interval", "2000ms", "--ping-timeout", "5000ms"];
        nodes[parser] = await Node.application("n1", { ...start, args });
        const kind = kinds.find(({ name }) => name === { default: "4.8.4", msgpack: "4.8.4 with msgpack" }[parser]);
        const witness = await Peer.connect(kind, nodes[parser].url, "websocket", all, { auth: { word: "sesame" } });
        // python-socketio takes an acknowledgement with the id 0, the first of each namespace, for none.
        for (const joined of witness.namespaces.values()) await joined.call("ask");
        witnesses[parser] = witness;
      }
    });

    for (const kind of kinds) {
      describe(kind.name, { concurrency: 1 }, () => { // its ways share a network
        let wire;
        before(async () => { wire = await Wire.to(nodes[kind.parser ?? "default"]); });

        for (const way of Object.keys(ways)) {
          describe(way, { concurrency: 1 }, () => {
            let cell;
            before(async () => {
              const { node, url } = wire;
              const options = { auth: { word: "sesame" }, query: { q: "a&b=é" } };
              const peer = await Peer.connect(kind, url, way, all, options);
              cell = { kind, way, wire, node, url, peer, witness: witnesses[kind.parser ?? "default"] };
            });
            after(() => cell.peer.end());
            for (const [feature, check] of Object.entries(features)) test(feature, () => check(cell));
          });
        }
      });
    }
  });
}
