// One Node server and two nodes of ours in one cluster, and every operation on all of it.
import assert from "node:assert/strict";
import { connectAll, hear, heard, plain } from "./client.mjs";
import { Node } from "./node.mjs";
import { until } from "./program.mjs";

export const binary = { name: "file", data: Buffer.from([0, 1, 254, 255]), parts: [Buffer.alloc(50_000, 3), { nested: Buffer.from("x") }] };
export const ids = (clients) => clients.map(({ id }) => id).sort();
/** All values of the acknowledgement. */
export const askAll = (client, ...event) => new Promise((resolve, reject) => {
  client.timeout(10_000).emit(...event, (error, ...values) => { if (error) reject(new Error(`${client.label}, ${event[0]}: ${error.message}`)); else resolve(values); });
});
export const ask = async (...args) => (await askAll(...args))[0];

const rooms = { red: [1, 3, 7], blue: [1, 2, 7, 8] };

/** Three servers with a client by each way: on Node 0-2, on ours 3-5 and 6-8. Rooms: red 1 3 7, blue 1 2 7 8. */
export async function cast(redis, args) {
  const world = { redis, args, nodes: [], all: [], ends: [] }; // ends: of connections, which no test wants
  await Promise.all([0, 1, 2].map((i) => enter(world, i)));
  await until("everyone hears everyone", async () => {
    const senders = [world.all[0], world.all[3], world.all[6]];
    for (const client of senders) client.emit("emit", {}, "hello", client.id);
    return world.all.every((client) => senders.every(({ id }) => heard(client, "hello").some(([from]) => from === id)));
  });
  return world;
}

/** Starts a server, again if it was there, with its clients. */
export async function enter(world, i) {
  const { redis, args, nodes, all, ends } = world;
  for (const client of all.slice(3 * i, 3 * i + 3)) client.disconnect();
  await nodes[i]?.stop();
  nodes[i] = await Node.application(i === 0 ? "node" : `n${i}`, { redis, args, reference: i === 0 });
  const clients = await connectAll([nodes[i]], { query: { q: `of ${i}` } });
  for (const [j, client] of clients.entries()) {
    const number = 3 * i + j;
    all[number] = client;
    client.on("disconnect", (reason) => ends.push(`${client.label}: ${reason}`));
    client.on("question", (...given) => { if (typeof given.at(-1) === "function") given.at(-1)(client.id, "second"); });
    for (const [room, members] of Object.entries(rooms)) if (members.includes(number)) await ask(client, "join", [room]);
  }
}

/** Waits until nothing of before is under way any more, and forgets it. */
export async function fence({ all }) {
  for (const sender of [all[0], all[3], all[6]]) sender.emit("emit", {}, "fence");
  await hear(all, "fence", 3);
  for (const client of all) client.heard = [];
}

const broadcasts = {
  "plain": [{}, ["é", 1, -1.5, { a: [null, true] }], [0, 1, 2, 3, 4, 5, 6, 7, 8]],
  "a large text": [{}, ["x".repeat(100_000)], [0, 1, 2, 3, 4, 5, 6, 7, 8]],
  "no argument": [{}, [], [0, 1, 2, 3, 4, 5, 6, 7, 8]],
  "binary": [{}, [binary, Buffer.from("more")], [0, 1, 2, 3, 4, 5, 6, 7, 8]],
  "a room": [{ to: ["red"] }, ["to red"], [1, 3, 7]],
  "binary to a room": [{ to: ["red"] }, [binary], [1, 3, 7]],
  "two rooms": [{ to: ["red", "blue"] }, [2], [1, 2, 3, 7, 8]],
  "a room except another": [{ to: ["red"], except: ["blue"] }, [3], [3]],
  "without compression": [{ uncompressed: true }, ["as it is"], [0, 1, 2, 3, 4, 5, 6, 7, 8]],
  "all except a room": [{ except: ["blue"] }, [4], [0, 3, 4, 5, 6]],
};

/** Each tries one operation, started by a sender. */
export const features = {};
for (const [name, [target, args, expected]] of Object.entries(broadcasts)) {
  features[`broadcast: ${name}`] = async ({ all }, sender) => {
    sender.emit("emit", target, "news", ...args);
    await hear(expected.map((i) => all[i]), "news", 1); // a Node server on a Redis Cluster keeps no order
    sender.emit("emit", {}, "end");
    await hear(all, "end", 1);
    const hearers = all.filter((client) => heard(client, "news").length > 0);
    assert.deepEqual(hearers.map((client) => all.indexOf(client)), expected);
    for (const client of hearers) assert.deepEqual(plain(heard(client, "news")), [plain(args)], client.label);
  };
}

Object.assign(features, {
  async "broadcast: all but the sender"({ all }, sender) {
    sender.emit("emit", { sender: true }, "news");
    await hear(all.filter((client) => client !== sender), "news", 1);
    sender.emit("emit", {}, "end");
    await hear(all, "end", 1);
    assert.deepEqual(all.filter((client) => heard(client, "news").length === 0), [sender]);
  },

  async "broadcast: volatile"({ all }, sender) {
    const ready = all.filter(({ label }) => !label.startsWith("polling"));
    await until("all that are ready have heard one", () => {
      sender.emit("emit", { volatile: true }, "volatile", 1);
      return ready.every((client) => heard(client, "volatile").length > 0);
    });
  },

  async "broadcast: to one client of each server"({ all }, sender) {
    for (const receiver of [all[2], all[5], all[8]]) {
      sender.emit("emit", { to: [receiver.id] }, "to you", receiver.id);
      await hear([receiver], "to you", 1);
    }
    for (const client of all) assert.deepEqual(heard(client, "to you"), all.indexOf(client) % 3 === 2 ? [[client.id]] : [], client.label);
  },

  async "order"({ all }, sender) {
    for (let i = 0; i < 100; i++) sender.emit("emit", {}, "count", i, i % 7 ? "text" : Buffer.from([i]));
    await hear(all, "count", 100);
    for (const client of all) assert.deepEqual(heard(client, "count").map(([i]) => i), [...Array(100).keys()], client.label);
  },

  async "acknowledgements"({ all }, sender) {
    for (const [target, expected] of [
      [{}, all], [{ to: ["red"] }, [all[1], all[3], all[7]]], [{ to: ["nobody"] }, []], [{ sender: true }, all.filter((client) => client !== sender)],
    ]) {
      for (const value of ["text", binary]) {
        const [answers, missing] = await askAll(sender, "poll", target, value);
        assert.deepEqual([answers.sort(), missing], [ids(expected), false]);
      }
    }
  },

  async "acknowledgements that do not all come"({ all }, sender) {
    const silent = all.find((client, i) => i % 3 === 1 && client !== sender);
    const listeners = silent.listeners("question");
    silent.off("question");
    const [answers, missing] = await askAll(sender, "poll", {}, "who?");
    assert.deepEqual([answers.sort(), missing], [ids(all.filter((client) => client !== silent)), true]);
    for (const listener of listeners) silent.on("question", listener);
  },

  async "sockets are listed"({ all }, sender) {
    await Promise.all(all.map((client, i) => ask(client, "keep", { number: i, name: "é" })));
    for (const [target, expected] of [[{}, all], [{ to: ["red"] }, [all[1], all[3], all[7]]], [{ except: ["blue"] }, [0, 3, 4, 5, 6].map((i) => all[i])],
      [{ to: [all[8].id] }, [all[8]]], [{ to: ["nobody"] }, []]]) {
      const [error, sockets] = await askAll(sender, "sockets", target);
      assert.equal(error, null);
      assert.deepEqual(ids(sockets), ids(expected));
      for (const { id, rooms, value, q } of sockets) {
        const i = all.findIndex((client) => client.id === id);
        const expectedRooms = [id, ...[1, 3, 7].includes(i) ? ["red"] : [], ...[1, 2, 7, 8].includes(i) ? ["blue"] : []];
        assert.deepEqual([rooms.sort(), value, q], [expectedRooms.sort(), { number: i, name: "é" }, `of ${Math.floor(i / 3)}`]);
      }
    }
  },

  async "sockets join and leave"({ all }, sender) {
    const inRoom = async (room) => {
      const states = await Promise.all(all.map((client) => ask(client, "state")));
      return states.flatMap(({ rooms }, i) => (rooms.includes(room) ? [i] : []));
    };
    sender.emit("all join", { to: ["red"] }, ["green", "lime"]);
    for (const room of ["green", "lime"]) await until("the red are in", async () => String(await inRoom(room)) === "1,3,7");
    sender.emit("emit", { to: ["green"] }, "news");
    await hear([all[1], all[3], all[7]], "news", 1);
    sender.emit("all leave", { to: ["green"], except: ["blue"] }, ["green", "lime"]);
    for (const room of ["green", "lime"]) await until("the red that are not blue are out", async () => String(await inRoom(room)) === "1,7");
    sender.emit("all leave", {}, ["green", "lime"]);
    for (const room of ["green", "lime"]) await until("all are out", async () => String(await inRoom(room)) === "");
  },

  async "servers are told"({ all, nodes }, sender) {
    sender.emit("tell servers", "é", { a: 1 });
    const own = Math.floor(all.indexOf(sender) / 3);
    const others = all.filter((_, i) => Math.floor(i / 3) !== own);
    await hear(others, "told", 1);
    for (const [i, client] of all.entries()) {
      const told = others.includes(client) ? [[nodes[Math.floor(i / 3)].id, "é", { a: 1 }]] : [];
      assert.deepEqual(heard(client, "told"), told, client.label);
    }
  },

  async "servers answer"({ all, nodes }, sender) {
    const own = Math.floor(all.indexOf(sender) / 3);
    const [error, answers] = await askAll(sender, "ask servers", 1, { b: ["é"] });
    assert.equal(error, null);
    const expected = nodes.filter((_, i) => i !== own).map(({ id }) => ({ server: id, args: [1, { b: ["é"] }] }));
    assert.deepEqual(answers.sort((a, b) => (a.server < b.server ? -1 : 1)), expected.sort((a, b) => (a.server < b.server ? -1 : 1)));
  },

  async "sockets are disconnected"({ all }, sender) {
    const victims = all.filter((client, i) => i % 3 === 2 && client !== sender);
    const ends = victims.map((client) => new Promise((resolve) => client.once("disconnect", resolve)));
    await Promise.all(victims.map((client) => ask(client, "join", ["doomed"])));
    sender.emit("all disconnect", { to: ["doomed"] }, false);
    assert.deepEqual(await Promise.all(ends), victims.map(() => "io server disconnect"));
    for (const client of victims) client.connect();
    await until("they are back", () => victims.every(({ connected }) => connected));
    for (const i of [2, 8]) if (victims.includes(all[i])) await ask(all[i], "join", ["blue"]);
    await Promise.all(victims.map((client) => ask(client, "keep", { number: all.indexOf(client), name: "é" })));
  },

  async "namespaces are apart"({ all }, sender) {
    const others = all.map((client) => client.io.socket("/other"));
    for (const client of others) {
      client.heard = [];
      client.onAny((...event) => client.heard.push(event));
      if (!client.active) client.connect();
    }
    await until("the second namespace is joined", () => others.every(({ connected }) => connected));
    const there = others[all.indexOf(sender)];
    there.emit("emit", {}, "news", "over there");
    await hear(others, "news", 1);
    const [error, sockets] = await askAll(there, "sockets", {});
    assert.deepEqual([error, ids(sockets)], [null, ids(others)]);
    sender.emit("emit", {}, "end");
    await hear(all, "end", 1);
    for (const client of all) assert.deepEqual(heard(client, "news"), [], client.label);
    for (const client of others) client.disconnect().offAny();
  },
});
