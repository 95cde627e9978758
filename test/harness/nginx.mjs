// nginx with the configurations from deploy/, their addresses replaced by those of the test.
import { configure } from "./configuration.mjs";
import { freePort, installed, Program } from "./program.mjs";

// As root, workers would change to a user who may not enter the test's folder.
const user = process.getuid() === 0 ? "user root;" : "";

export class Nginx {
  /**
   * Starts nginx.conf in front of three nodes, or plain.conf, which knows no sessions. idle, in seconds, replaces the time for
   * which a connection may be silent.
   */
  static async start(nodes, { affinity = true, idle } = {}) {
    const nginx = new Nginx();
    const port = await freePort();
    const changes = nodes.map((node, i) => [new RegExp(`192\\.0\\.2\\.${i + 1}:3000`, "g"), new URL(node.url).host]);
    if (idle) changes.push([/proxy_read_timeout 75s/, `proxy_read_timeout ${idle}s`], [/proxy_send_timeout 75s/, `proxy_send_timeout ${idle}s`]);
    if (!affinity) changes.push([/ +least_conn;\n/, ""]); // by turns
    const temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"].map((name) => `${name}_temp_path ${name};`).join(" ");
    const { folder, path } = configure(`nginx/${affinity ? "nginx" : "plain"}.conf`, [
      [/listen 8080;/, `listen 127.0.0.1:${port};`], [/http \{/, `http { ${temporary}`], ...changes,
    ]);
    nginx.url = `http://127.0.0.1:${port}`;
    const global = `daemon off; pid ${folder}/pid; error_log stderr notice; ${user}`;
    nginx.program = new Program("nginx", installed("nginx", "nginx-light"), ["-e", "stderr", "-p", folder, "-g", global, "-c", path], { last: "SIGTERM" });
    await nginx.program.until("an answer", async () => {
      try {
        return (await fetch(nginx.url)).ok;
      } catch {
        return false; // it does not listen yet
      }
    });
    return nginx;
  }

  /** Has new workers take over; the old ones go on with the connections that they have. */
  async reload() {
    this.program.signal("SIGHUP");
    await this.program.until("the farewell of the old workers", () => this.program.output.includes("gracefully shutting down"));
  }
}
