// The two servers of docs/migrate.md and its balancer, as they stand there: the same things are asked of both kinds, while clients
// move from the one to the other.
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createConnection } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { fileURLToPath } from "node:url";
import { io } from "socket.io-client";
import { connect, heard, ways } from "./harness/client.mjs";
import { freePort, installed, Program, until } from "./harness/program.mjs";
import { Redis } from "./harness/redis.mjs";

const page = readFileSync(new URL("../docs/migrate.md", import.meta.url), "utf8");
const folder = mkdtempSync(join(tmpdir(), "migrate-"));
after(() => rmSync(folder, { recursive: true, force: true }));

/** The first block of code in a language. */
function block(language, beginning) {
  const [, code] = new RegExp(`\n\`\`\`${language}\n(${beginning}[^]*?)\`\`\`\n`).exec(page) ?? [];
  assert.ok(code, `docs/migrate.md has code in ${language}`);
  return code;
}

const servers = {}; // by name, which is also their tag
let redis, proxy, clients;

async function start(name, command, args) {
  const port = await freePort();
  const program = new Program(name, command, args, { env: { PORT: String(port), TAG: name, REDIS_URL: redis.url } });
  servers[name] = { name, port, program, url: `http://127.0.0.1:${port}` };
  await program.until("readiness", () => fetch(`${servers[name].url}/readyz`).then(({ ok }) => ok, () => false));
}

/** Says something to the balancer's administrator socket. */
const administer = (command) => new Promise((resolve, reject) => {
  let answer = "";
  createConnection(join(folder, "admin.sock"), function () { this.end(`${command}\n`); })
    .on("data", (text) => { answer += text; }).on("end", () => resolve(answer.trim())).on("error", reject);
});

async function weigh(weights) {
  for (const [name, weight] of Object.entries(weights)) assert.equal(await administer(`set server chat/${name} weight ${weight}`), "");
}

async function startBalancer() {
  const port = await freePort();
  let text = block("haproxy", "global").replace("/run/haproxy/admin.sock", join(folder, "admin.sock")).replace("bind :8080", `bind 127.0.0.1:${port}`);
  for (const { name, port: at } of Object.values(servers)) {
    const line = new RegExp(`server ${name} 192\\S+ `);
    assert.match(text, line);
    text = text.replace(line, `server ${name} 127.0.0.1:${at} `);
  }
  text = text.replace("maxconn 20000", "maxconn 1000");
  writeFileSync(join(folder, "haproxy.cfg"), text);
  proxy = { url: `http://127.0.0.1:${port}` };
  proxy.program = new Program("haproxy", installed("haproxy", "haproxy"), ["-db", "-f", join(folder, "haproxy.cfg")]);
  await proxy.program.until("all servers", async () => {
    const states = await administer("show servers state chat").catch(() => "");
    return states.split("\n").filter((line) => line.split(" ")[5] === "2").length === 4;
  });
}

const serverOf = (client) => client.io.engine.id?.split("_")[0];
const tokens = { ann: "secret-a", bob: "secret-b" };

/** A client that joins the room whenever it is connected, as a page would. */
async function enter(user, way) {
  const client = await connect(proxy.url, way, { auth: { token: tokens[user] } });
  client.user = user;
  client.ends = [];
  client.on("disconnect", (reason) => client.ends.push(reason));
  // Longer than servers wait for one that has just ended.
  const join = async () => { client.members = await client.timeout(15_000).emitWithAck("join", "desk"); };
  client.on("connect", () => { client.members = null; join().catch(() => {}); });
  await join();
  return client;
}

/** Why a server does not let somebody in. */
const refusal = (url, auth) => new Promise((resolve) => {
  const client = io(url, { transports: ["websocket"], forceNew: true, reconnection: false, auth });
  client.on("connect_error", ({ message }) => { client.close(); resolve(message); });
});

const enterAll = () => Promise.all(Object.keys(tokens).flatMap((user) => Object.keys(ways).map((way) => enter(user, way))));

/** One client of each server says something, and everybody hears each once; so with what is sent to one user by an HTTP request. */
async function everyoneHearsEveryone() {
  for (const client of clients) client.heard = [];
  const speakers = [...new Map(clients.map((client) => [serverOf(client), client])).values()];
  for (const speaker of speakers) speaker.emit("say", "desk", serverOf(speaker));
  const expected = speakers.map((speaker) => ["desk", speaker.user, serverOf(speaker)]).sort();
  await until("all is heard", () => clients.every((client) => heard(client, "said").length >= expected.length));
  for (const client of clients) assert.deepEqual(heard(client, "said").sort(), expected, client.label);

  const alive = Object.values(servers).filter(({ program }) => !program.ended);
  for (const { url } of alive) assert.equal((await fetch(`${url}/notify/ann`, { method: "POST" })).status, 204);
  const anns = clients.filter(({ user }) => user === "ann");
  await until("ann has her notices", () => anns.every((client) => heard(client, "notice").length === alive.length));
  for (const client of clients.filter(({ user }) => user === "bob")) assert.deepEqual(heard(client, "notice"), []);
  return speakers.map(serverOf).sort();
}

before(async () => {
  writeFileSync(join(folder, "main.go"), block("go", "package main"));
  const root = fileURLToPath(new URL("..", import.meta.url));
  execFileSync(installed("go", "golang"), ["build", "-o", join(folder, "desk"), join(folder, "main.go")], { cwd: root, stdio: "inherit" });
  redis = await Redis.start();
  const source = block("js", "import");
  for (const name of ["j1", "j2"]) await start(name, process.execPath, ["--input-type=module", "--eval", source]);
  for (const name of ["g1", "g2"]) await start(name, join(folder, "desk"), []);
  await startBalancer();
  clients = await enterAll();
});

test("with weight 0 a server gets no clients, and takes part already", async () => {
  assert.deepEqual(await everyoneHearsEveryone(), ["j1", "j2"]);
  assert.equal((await redis.subscribers()).get("socket.io-request#/#"), 4);
});

test("both kinds side by side", async (t) => {
  await weigh({ g1: 100, g2: 100 });
  while (!["g1", "g2"].every((name) => clients.some((client) => serverOf(client) === name))) clients.push(...await enterAll());
  assert.deepEqual(await everyoneHearsEveryone(), ["g1", "g2", "j1", "j2"]);
  t.diagnostic(`${clients.length} clients`);

  for (const name of ["j1", "g1"]) {
    const client = clients.find((each) => serverOf(each) === name);
    assert.deepEqual(await client.timeout(5000).emitWithAck("join", "desk"), clients.map(({ user }) => user).sort(), `members, asked of ${name}`);
    for (const each of clients) each.heard = [];
    await until("the others see typing", () => {
      client.emit("typing", "desk");
      return clients.every((each) => each === client || heard(each, "typing").length > 0);
    });
    assert.deepEqual(heard(client, "typing"), []);
    assert.equal(await refusal(servers[name].url, { token: "none" }), "not authorized");
  }
});

test("the servers of Node end, and their clients go on", async () => {
  await weigh({ j1: 0, j2: 0 });
  const moving = clients.filter((client) => serverOf(client).startsWith("j"));
  const staying = clients.filter((client) => !moving.includes(client));
  for (const client of moving) assert.deepEqual(client.ends, [], "weight 0 cuts nobody");
  for (const name of ["j1", "j2"]) assert.deepEqual(await servers[name].program.stop("SIGTERM"), { code: 0, signal: null });
  await until("all are back", () => clients.every((client) => client.connected && client.members && serverOf(client).startsWith("g")));
  // Node's process ends while the answers of polls are on their way.
  for (const client of moving) assert.match(client.ends.join(), /^transport (close|error)$/, client.label);
  for (const client of staying) assert.deepEqual(client.ends, [], client.label);
  assert.deepEqual(await everyoneHearsEveryone(), ["g1", "g2"]);
});

test("who leaves is missed", async () => {
  const [leaving] = clients.splice(0, 1);
  for (const client of clients) client.heard = [];
  leaving.disconnect();
  await until("the others hear it", () => clients.every((client) => heard(client, "left").some(([room, user]) => room === "desk" && user === leaving.user)));
});
