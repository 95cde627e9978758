// A real redis-server on a free port, without persistence.
import { createConnection } from "node:net";
import { tmpdir } from "node:os";
import { freePort, installed, Program } from "./program.mjs";

export class Redis {
  static async start() {
    const redis = new Redis();
    redis.port = await freePort();
    redis.url = `redis://127.0.0.1:${redis.port}`;
    await redis.restart();
    return redis;
  }

  /** Starts the server on its port; it must not be running. */
  async restart() {
    const args = ["--port", this.port, "--bind", "127.0.0.1", "--dir", tmpdir(), "--save", "", "--appendonly", "no"];
    this.program = new Program(`redis-server :${this.port}`, installed("redis-server", "redis-server"), args.map(String));
    await this.program.until("an answer", () => this.#answers());
  }

  stop() {
    return this.program.stop("SIGKILL");
  }

  #answers() {
    return new Promise((resolve) => {
      const socket = createConnection(this.port, "127.0.0.1", () => socket.write("PING\r\n"));
      socket.once("data", (reply) => { socket.destroy(); resolve(String(reply).startsWith("+PONG")); });
      socket.once("error", () => resolve(false));
    });
  }
}
