// HAProxy with the configuration from deploy/, its addresses replaced by those of the test's nodes.
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after } from "node:test";
import { freePort, installed, Program } from "./program.mjs";

const configuration = new URL("../../deploy/haproxy/haproxy.cfg", import.meta.url);

export class HAProxy {
  /** Starts it in front of nodes. Without affinity it sends every request to the next node, whatever session it is for. */
  static async start(nodes, { affinity = true } = {}) {
    const proxy = new HAProxy();
    const [port, internal] = [await freePort(), await freePort()];
    const replace = (text, pattern, replacement) => {
      if (!pattern.test(text)) throw new Error(`deploy/haproxy/haproxy.cfg has nothing like ${pattern}`);
      return text.replace(pattern, replacement);
    };
    let text = readFileSync(configuration, "utf8");
    text = replace(text, /bind :8080/, `bind 127.0.0.1:${port}`);
    text = replace(text, /bind :8404/, `bind 127.0.0.1:${internal}`);
    nodes.forEach((node, i) => {
      const at = `server ${node.id} ${new URL(node.url).host} port ${new URL(node.internal).port}`;
      text = replace(text, new RegExp(`server ${node.id} node${i + 1}:3000`), at);
    });
    if (!affinity) {
      text = replace(text, /balance leastconn/, "balance roundrobin");
      text = replace(text, /^ +use-server .*\n/gm, "");
    }
    const folder = mkdtempSync(join(tmpdir(), "haproxy-"));
    after(() => rmSync(folder, { recursive: true }));
    writeFileSync(join(folder, "haproxy.cfg"), text);
    proxy.url = `http://127.0.0.1:${port}`;
    proxy.program = new Program("haproxy", installed("haproxy", "haproxy"), ["-db", "-n", "1000", "-f", join(folder, "haproxy.cfg")]);
    await proxy.program.until("all nodes", async () => {
      try {
        const metrics = await (await fetch(`http://127.0.0.1:${internal}/metrics`)).text();
        return nodes.every(({ id }) => metrics.includes(`haproxy_server_status{proxy="nodes",server="${id}",state="UP"} 1`));
      } catch {
        return false; // does not listen yet
      }
    });
    return proxy;
  }
}
