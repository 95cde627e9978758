// Official clients of every age and language come back: when their server restarts, when the network breaks or falls silent, with
// their session where that is kept; and speak compressed. On a server of ours and, so that the tests themselves are tried, on Node's.
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { ways } from "./harness/client.mjs";
import { kinds, Peer } from "./harness/kinds.mjs";
import { Node } from "./harness/node.mjs";
import { until } from "./harness/program.mjs";
import { Wire } from "./harness/wire.mjs";

const servers = { Chorus: {}, Node: { reference: true } };
const each = (peers, f) => Promise.all(peers.map(f));
const beat = ["--ping-interval", "500ms", "--ping-timeout", "2500ms"];

function start(server, kind, ...args) {
  return Node.application("n1", { ...servers[server], args: ["--eio3", "--parser", kind.parser ?? "default", ...args] });
}

/** One client by each way, in a hall, through a network of their own; and a witness, who is not touched by what happens there. */
async function cast(kind, node, without) {
  const wire = await Wire.to(node);
  const peers = await each(Object.keys(ways).filter((way) => way !== without), (way) => Peer.connect(kind, wire.url, way));
  await each(peers, (peer) => peer.in().call("join", ["hall"]));
  await each(peers, (peer) => peer.in().call("keep", { name: "é", way: peer.way }));
  const witness = await Peer.connect(kinds.find(({ parser, protocol, python }) => parser === kind.parser && protocol === 4 && !python), node.url, "websocket");
  return { wire, peers, witness };
}

/** Waits until the server has missed all of them. */
const missed = (witness, peers) => each(peers, (peer) => {
  const gone = () => witness.in().got("left").find(([id]) => id === peer.in().ids[0]);
  return until(() => `the server misses ${peer.label}`, gone, 20_000);
});

const backAgain = (peers, count = 2) => each(peers, async (peer) => {
  await peer.in().until("another connection", ({ ids, connected }) => connected && ids.length >= count, 30_000);
  assert.deepEqual(await peer.in().call("echo", "here", Buffer.from("again")), ["here", Buffer.from("again")]);
});

const features = {
  async "the server restarts"({ server, kind }) {
    let node = await start(server, kind);
    // python-socketio takes the close packet of a server that ends in order for a disconnection of its own when it polls.
    const { wire, peers } = await cast(kind, node, kind.python && "polling");
    for (const [count, signal] of [[2, "SIGTERM"], [3, "SIGKILL"]]) {
      await node.stop(signal);
      await each(peers, (peer) => peer.in().until("its loss", ({ ends }) => ends.length >= count - 1));
      node = await start(server, kind);
      wire.lead(node);
      await backAgain(peers, count);
    }
    for (const peer of peers) {
      assert.equal(new Set(peer.in().ids).size, 3, `${peer.label} has another id each time`);
      if (!kind.python) assert.ok(peer.in().ends.every((reason) => /^transport (close|error)$/.test(reason)), `${peer.label}: ${peer.in().ends}`);
      await peer.end();
    }
    await node.stop();
  },

  async "the network falls silent"({ server, kind }) {
    const node = await start(server, kind, ...beat);
    // Node's server forgets the heartbeat of a session whose upgrade ends while a pong is due.
    const { wire, peers, witness } = await cast(kind, node, server === "Node" && "upgrade");
    wire.freeze();
    await missed(witness, peers);
    for (const [id, reason, rooms] of witness.in().got("left")) {
      if (peers.some((peer) => peer.in().ids[0] === id)) assert.deepEqual([reason, rooms], ["ping timeout", 0]);
    }
    if (!kind.python) { // whose patience is longer
      await each(peers, (peer) => peer.in().until("its loss", ({ ends }) => ends.length > 0));
      for (const peer of peers) assert.equal(peer.in().ends[0], "ping timeout", peer.label);
    }
    wire.cut();
    wire.lead(node);
    await backAgain(peers);
    await each([...peers, witness], (peer) => peer.end());
    await node.stop();
  },

  async "sessions are recovered"({ server, kind }) {
    const node = await start(server, kind, ...beat, "--recovery", "60000ms");
    const { wire, peers, witness } = await cast(kind, node);
    const tell = (...event) => witness.in().emit("emit", { to: ["hall"] }, ...event);
    const first = await each(peers, (peer) => peer.in().call("state"));
    tell("news", 0);
    await each(peers, (peer) => peer.in().hears("news"));
    witness.in().emit("emit", { to: ["hall"], volatile: true }, "moved", 1); // no string, which Node's clients would take for an offset
    await wire.quiet();
    wire.cut();
    await missed(witness, peers);
    for (let i = 1; i <= 5; i++) tell("news", i, Buffer.from([i]), { nested: [Buffer.from("é")] });
    witness.in().emit("emit", { to: ["elsewhere"] }, "news", "not for them");
    await witness.in().call("echo");
    wire.lead(node);
    await backAgain(peers);
    for (const [i, peer] of peers.entries()) {
      const { ids, recovered } = peer.in();
      const [state] = await peer.in().call("state");
      if (!kind.recovers) { // and so begins anew
        assert.notEqual(ids[0], ids[1], peer.label);
        assert.deepEqual([state.recovered, state.value, state.rooms], [false, null, [ids[1]]], peer.label);
        continue;
      }
      assert.deepEqual([ids[0], recovered], [ids[1], [false, true]], peer.label);
      assert.deepEqual({ ...state, rooms: state.rooms.sort() }, { ...first[i][0], rooms: [ids[0], "hall"].sort(), recovered: true }, peer.label);
      const news = peer.in().got("news");
      assert.deepEqual(news.map(([n]) => n), [0, 1, 2, 3, 4, 5], peer.label);
      for (const [n, bytes, { nested }, offset] of news.slice(1)) {
        assert.deepEqual([bytes, nested, typeof offset], [Buffer.from([n]), [Buffer.from("é")], "string"], peer.label);
      }
    }
    tell("news", 6);
    await each(peers, (peer) => (kind.recovers ? peer.in().hears("news", 7) : undefined));
    await each([...peers, witness], (peer) => peer.end());
    await node.stop();
  },

  async "sessions expire"({ server, kind }) {
    if (!kind.recovers) return;
    const node = await start(server, kind, ...beat, "--recovery", "400ms");
    const { wire, peers, witness } = await cast(kind, node);
    witness.in().emit("emit", { to: ["hall"] }, "news", 0);
    await each(peers, (peer) => peer.in().hears("news"));
    wire.cut();
    await missed(witness, peers);
    await new Promise((resolve) => setTimeout(resolve, 600));
    wire.lead(node);
    await backAgain(peers);
    for (const peer of peers) {
      assert.deepEqual(peer.in().recovered, [false, false], peer.label);
      assert.notEqual(peer.in().ids[0], peer.in().ids[1], peer.label);
      assert.deepEqual((await peer.in().call("state"))[0].rooms, [peer.in().id], peer.label);
    }
    await each([...peers, witness], (peer) => peer.end());
    await node.stop();
  },

  async "WebSockets are compressed"({ server, kind }) {
    if (!kind.deflates) return;
    const node = await start(server, kind, "--deflate");
    for (const way of ["websocket", "upgrade"]) {
      const peer = await Peer.connect(kind, node.url, way);
      assert.match((await peer.act("engine")).extensions, /^permessage-deflate/, peer.label);
      for (const value of ["é".repeat(50_000), Buffer.alloc(100_000, "bytes"), "short"]) {
        assert.deepEqual(await peer.in().call("echo", value, { value }), [value, { value }]);
        peer.in().emit("emit", {}, "news", value);
      }
      assert.equal((await peer.in().hears("news", 3)).length, 3);
      await peer.end();
    }
    await node.stop();
  },
};

for (const server of Object.keys(servers)) {
  describe(`clients of ${server}`, { concurrency: 3 }, () => {
    for (const kind of kinds) {
      describe(kind.name, { concurrency: 1 }, () => {
        for (const [feature, check] of Object.entries(features)) test(feature, () => check({ server, kind }));
      });
    }
  });
}
