// What an operator does with a node: TLS, settings that are reloaded, limits; what the doctor says of a real Redis.
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { copyFileSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { connect, hear, ways } from "./harness/client.mjs";
import { Node, programPath } from "./harness/node.mjs";
import { installed, Program, until } from "./harness/program.mjs";
import { Redis } from "./harness/redis.mjs";

const folder = mkdtempSync(join(tmpdir(), "chorus-operate-"));
after(() => rmSync(folder, { recursive: true, force: true }));
const file = (name) => join(folder, name);

/** Makes a certificate for 127.0.0.1 and its key. */
function issue(name) {
  execFileSync(installed("openssl", "openssl"), [
    "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2", "-subj", `/CN=${name}`,
    "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", file(`${name}.key`), "-out", file(`${name}.crt`),
  ], { stdio: "ignore" });
  return readFileSync(file(`${name}.crt`));
}

/** Puts a certificate where the node looks for it. */
function use(name) {
  for (const kind of ["key", "crt"]) copyFileSync(file(`${name}.${kind}`), file(`tls.${kind}`));
}

test("official clients over TLS, before and after the certificate is renewed", async () => {
  const [first, second] = [issue("first"), issue("second")];
  use("first");
  writeFileSync(file("chorus.yml"), `tls: {cert: ${file("tls.crt")}, key: ${file("tls.key")}}\n`);
  const node = await Node.serve("a", { args: ["--config", file("chorus.yml")] });
  const url = node.url.replace("http:", "https:");
  const clients = await Promise.all(Object.keys(ways).map((way) => connect(url, way, { ca: [first, second] })));
  await assert.rejects(fetch(url), "the certificate is of no known authority");

  use("second");
  node.program.signal("SIGHUP");
  await node.program.until("the certificate is taken over", () => node.program.output.includes('"changed":["certificate until'));
  clients.push(...await Promise.all(Object.keys(ways).map((way) => connect(url, way, { ca: second }))));
  for (const [i, client] of clients.entries()) client.emit("chat message", `from ${i}`);
  await hear(clients, "chat message", clients.length);
  await node.stop("SIGINT");
});

/** What the doctor says, by area and name, and its exit code. */
async function examine(...args) {
  const program = new Program("doctor", programPath(), ["doctor", "--json", "--connections=10", ...args]);
  const { code } = await program.exit;
  const { ok, checks } = JSON.parse(program.output);
  assert.equal(ok, code === 0, program.output);
  assert.ok(!program.output.includes("hunter2"), "a secret is shown");
  return { code, checks: Object.fromEntries(checks.map((check) => [`${check.area} ${check.name}`, check])) };
}

test("the doctor knows what a user of Redis may not", async () => {
  const redis = await Redis.start();
  const adapters = ["redis", "redis-streams", "redis-sharded"];
  for (const adapter of adapters) {
    const { checks } = await examine("--redis.url", redis.url, "--adapter", adapter);
    for (const name of ["reachable", "version", "commands and channels", "clock", "timeout"]) {
      assert.equal(checks[`redis ${name}`].status, "ok", `${adapter}: ${JSON.stringify(checks[`redis ${name}`])}`);
    }
    assert.equal(checks["redis client-output-buffer-limit pubsub"].status, "warn");
  }
  const [, ...remedy] = /CONFIG SET (client-output-buffer-limit) '(.*)'/.exec((await examine("--redis.url", redis.url)).checks["redis client-output-buffer-limit pubsub"].remedy);
  await redis.command("CONFIG", "SET", ...remedy);
  assert.equal((await examine("--redis.url", redis.url)).checks["redis client-output-buffer-limit pubsub"].status, "ok", "its own remedy helps");

  const rule = /^ACL (SETUSER .*)$/m.exec(readFileSync(new URL("../deploy/README.md", import.meta.url), "utf8"))[1].replace("PASSWORD", "hunter2");
  await redis.command("ACL", ...rule.split(" "));
  const restricted = redis.url.replace("//", "//chorus:hunter2@");
  for (const adapter of adapters) {
    const { checks } = await examine("--redis.url", restricted, "--adapter", adapter);
    assert.equal(checks["redis commands and channels"].status, "ok", `${adapter}: ${JSON.stringify(checks["redis commands and channels"])}`);
    assert.equal(checks["redis clock"].status, "unknown");
  }
  await redis.command("ACL", "SETUSER", "chorus", "-publish", "-del", "resetchannels", "&other*");
  const { code, checks } = await examine("--redis.url", restricted, "--adapter", "redis-streams");
  assert.equal(code, 1);
  assert.match(checks["redis commands and channels"].found, /PUBLISH, SUBSCRIBE, the sessions' GET and DEL/);
  assert.match((await examine("--redis.url", redis.url.replace("//", "//chorus:hunter3@"))).checks["redis reachable"].found, /WRONGPASS/);
  await until("nothing stays in Redis", async () => (await redis.command("KEYS", "*")).length === 0);
});

test("a client that floods is slowed down and loses nothing", async () => {
  const node = await Node.serve("a", { args: ["--limits.events-per-second=20", "--limits.connections=2"] });
  const [flood, other] = [await connect(node.url), await connect(node.url)];
  const refused = await fetch(`${node.url}/socket.io/?EIO=4&transport=polling`);
  assert.deepEqual([refused.status, refused.headers.get("retry-after")], [503, "1"]);
  for (let i = 0; i < 50; i++) flood.emit("chat message", i);
  await hear([flood, other], "chat message", 50);
  assert.deepEqual(other.heard.map(([, i]) => i), [...Array(50).keys()]);
  assert.ok(await node.metric("chorus_limits_exceeded_total", { limit: "events" }) > 0);
  assert.ok(await node.metric("chorus_limits_exceeded_total", { limit: "connections" }) > 0);
  await node.stop("SIGINT");
});
