// Prometheus with the rules from deploy/, in quick motion: a second stands for fifteen.
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after } from "node:test";
import { freePort, installed, Program } from "./program.mjs";

const rules = new URL("../../deploy/prometheus/rules.yml", import.meta.url);
const speed = 15;
const folders = new Set();
after(() => folders.forEach((folder) => rmSync(folder, { recursive: true, force: true })));

// Every duration of the rules (for: 2m, [5m], offset 5m) is divided by the speed. Scrapes each second then stand for scrapes each 15 s,
// so that all windows have the samples that they have in earnest. What is counted per second stays as it is.
function quick(text) {
  const unit = { s: 1000, m: 60_000, h: 3_600_000 };
  let changed = 0;
  const result = text.replace(/(for: |\[|offset )(\d+)([smh])\b/g, (_, before, n, u) => {
    changed++;
    return `${before}${n * unit[u] / speed}ms`;
  });
  if (changed < 20 || /(for: |\[|offset )\d+[smh]\b/.test(result)) throw new Error("deploy/prometheus/rules.yml: durations are not written as expected");
  return result;
}

/** How long something that rules wait for takes here: quickly(60) ms stand for a minute. */
export const quickly = (seconds) => seconds * 1000 / speed;

export class Prometheus {
  /** Starts it over nodes, which it finds in a file, as service discovery would, and waits until it has seen them. With native it keeps native histograms instead of buckets. */
  static async start(nodes, { native = false } = {}) {
    const prometheus = new Prometheus();
    const folder = mkdtempSync(join(tmpdir(), "prometheus-"));
    folders.add(folder);
    const port = await freePort();
    prometheus.url = `http://127.0.0.1:${port}`;
    prometheus.file = join(folder, "targets.json");
    prometheus.target(nodes);
    writeFileSync(join(folder, "rules.yml"), quick(readFileSync(rules, "utf8")));
    writeFileSync(join(folder, "prometheus.yml"), JSON.stringify({ // which is YAML too
      global: { scrape_interval: "1s", scrape_timeout: "1s", evaluation_interval: "1s" },
      rule_files: ["rules.yml"],
      scrape_configs: [{ job_name: "chorus", file_sd_configs: [{ files: [prometheus.file], refresh_interval: "1s" }] }],
    }));
    prometheus.program = new Program("prometheus", installed("prometheus", "prometheus"), [
      `--config.file=${join(folder, "prometheus.yml")}`, `--storage.tsdb.path=${join(folder, "data")}`,
      `--web.listen-address=127.0.0.1:${port}`, ...(native ? ["--enable-feature=native-histograms"] : []),
    ]);
    await prometheus.program.until("a scrape of every node", async () => {
      try {
        return (await prometheus.query("up == 1")).length === nodes.length;
      } catch {
        return false; // does not listen yet
      }
    });
    return prometheus;
  }

  /** Makes these the nodes that are scraped. What else was is forgotten. */
  target(nodes) {
    writeFileSync(this.file, JSON.stringify([{ targets: nodes.map((node) => new URL(node.internal).host) }]));
  }

  async #ask(path, parameters) {
    const response = await fetch(`${this.url}/api/v1/${path}?${new URLSearchParams(parameters)}`);
    const answer = await response.json();
    if (answer.status !== "success") throw new Error(`${parameters.query}: ${answer.error}`);
    return answer.data.result;
  }

  /** The series of an expression now: [{metric, value: [time, text]}]. */
  query(query) {
    return this.#ask("query", { query });
  }

  /** The series of an expression over the last seconds. */
  range(query, seconds) {
    const end = Date.now() / 1000;
    return this.#ask("query_range", { query, start: end - seconds, end, step: 1 });
  }

  /** The alerts that fire, as "name instance" in order, each once. */
  async firing() {
    const alerts = await this.query('count by (alertname, instance) (ALERTS{alertstate="firing"})');
    return alerts.map(({ metric }) => `${metric.alertname} ${metric.instance ?? "-"}`).sort();
  }
}
