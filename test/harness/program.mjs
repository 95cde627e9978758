// Programs that a test starts: found, watched, and ended with it, each by its own process id.
import { spawn } from "node:child_process";
import { createServer } from "node:net";
import { accessSync, constants, readdirSync, readFileSync } from "node:fs";
import { delimiter, join } from "node:path";
import { after } from "node:test";

const running = new Set();

// What a file's tests started ends with them, also when they fail or are interrupted. Where the system can, it ends
// with this process even if that is killed.
const bound = (signal) => process.platform === "linux" ? ["setpriv", "--pdeathsig", signal.slice("SIG".length), "--"] : [];
after(() => Promise.all([...running].map((program) => program.stop(program.last))));
process.on("exit", () => running.forEach((program) => program.child.kill(program.last)));
for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"]) process.on(signal, () => process.exit(1));

/** Resolves as soon as condition() returns (or resolves to) something true; fails, naming what was awaited, after timeout ms. */
export async function until(what, condition, timeout = 30_000) {
  const deadline = Date.now() + timeout;
  for (;;) {
    const result = await condition();
    if (result) return result;
    if (Date.now() > deadline) {
      throw new Error(`still not true after ${timeout} ms: ${typeof what === "function" ? what() : what}`);
    }
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

/** A port to listen on, below those that systems give to whoever asks for any: nobody takes it while its server is down. */
export async function freePort() {
  for (;;) {
    const port = 10_000 + Math.floor(Math.random() * 20_000);
    const server = createServer();
    const free = await new Promise((resolve) => server.once("error", () => resolve(false)).listen(port, "127.0.0.1", () => resolve(true)));
    if (!free) continue;
    await new Promise((resolve) => server.close(resolve));
    return port;
  }
}

/** Path of an installed program; a missing one is an error that names the Debian package. */
export function installed(name, debianPackage) {
  const folders = name.includes("/") ? [""] : [...process.env.PATH.split(delimiter), "/usr/sbin"];
  for (const folder of folders) {
    const path = join(folder, name);
    try {
      accessSync(path, constants.X_OK);
      return path;
    } catch {
      // the next folder may have it
    }
  }
  throw new Error(`${name} is missing: apt-get install -y ${debianPackage}`);
}

/** A running program whose output is kept. It ends with the tests of the file at the latest. */
export class Program {
  output = "";
  ended = null; // {code, signal} once it has

  /** last is the signal with which it ends at the latest: one that it hears, if it has processes of its own to end. */
  constructor(name, command, args, { env = {}, stdin = "ignore", last = "SIGKILL" } = {}) {
    this.name = name;
    this.last = last;
    // What the program reads from the environment is the test's business alone.
    const inherited = Object.entries(process.env).filter(([key]) => !key.startsWith("CHORUS_"));
    const [file, ...rest] = [...bound(last), command, ...args];
    this.child = spawn(file, rest, { env: { ...Object.fromEntries(inherited), ...env }, stdio: [stdin, "pipe", "pipe"] });
    running.add(this);
    for (const stream of [this.child.stdout, this.child.stderr]) {
      stream.setEncoding("utf8").on("data", (text) => {
        this.output += text;
        if (this.output.length > 4_000_000) this.output = this.output.slice(-2_000_000);
      });
    }
    this.exit = new Promise((resolve) => {
      this.child.once("error", (error) => {
        this.output += error.stack;
        this.ended = { code: -1, signal: null };
        running.delete(this);
        resolve(this.ended);
      });
      this.child.once("close", (code, signal) => {
        this.ended = { code, signal };
        running.delete(this);
        resolve(this.ended);
      });
    });
  }

  /** Waits until condition() is true of the living program. */
  async until(what, condition, timeout = 30_000) {
    const tail = () => `${what} of ${this.name}; its last output:\n${this.output.slice(-3000)}`;
    return until(tail, async () => {
      if (this.ended) throw new Error(`${this.name} ended (${JSON.stringify(this.ended)}) before: ${tail()}`);
      return condition();
    }, timeout);
  }

  /** Sends a signal that does not end the program. */
  signal(name) {
    if (this.ended || !this.child.kill(name)) throw new Error(`${this.name} cannot be sent ${name}: it ended (${JSON.stringify(this.ended)})`);
  }

  /** Lets the program stand still until SIGCONT, and waits until all of its threads do, which takes its time on a busy machine. */
  async freeze() {
    this.signal("SIGSTOP");
    const threads = `/proc/${this.child.pid}/task`;
    const stopped = (thread) => readFileSync(`${threads}/${thread}/stat`, "utf8").includes(") T ");
    await this.until("a standstill", () => readdirSync(threads).every(stopped));
  }

  /** Seconds of CPU time that the program used so far. */
  get cpu() {
    // The name in the second field may hold spaces; user and system time are the 14th and 15th, in hundredths.
    const fields = readFileSync(`/proc/${this.child.pid}/stat`, "utf8").split(") ")[1].split(" ");
    return (Number(fields[11]) + Number(fields[12])) / 100;
  }

  /** Bytes of memory that the program occupies. */
  get memory() {
    return Number(/^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${this.child.pid}/status`, "utf8"))[1]) * 1024;
  }

  /** Sends a signal and returns how the program ended; one that does not end within timeout ms is killed, which is an error. */
  async stop(signal = "SIGTERM", timeout = 10_000) {
    if (this.ended) return this.ended;
    this.child.kill(signal);
    let timer;
    const late = new Promise((resolve) => { timer = setTimeout(resolve, timeout, "late"); });
    const result = await Promise.race([this.exit, late]);
    clearTimeout(timer);
    if (result !== "late") return result;
    this.child.kill("SIGKILL");
    await this.exit;
    throw new Error(`${this.name} did not end within ${timeout} ms of ${signal}; its last output:\n${this.output.slice(-3000)}`);
  }
}
