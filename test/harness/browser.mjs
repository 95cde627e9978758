// A headless Chromium, Debian's or the one that CHROMIUM names.
import { mkdirSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { after } from "node:test";
import { chromium } from "playwright-core";
import { installed } from "./program.mjs";

const flags = [
  "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync",
  // A page that a test puts in a server's place has no address, so that the browser takes its own origin for a foreign network.
  "--disable-features=LocalNetworkAccessChecks",
];

let running;
after(() => running?.close());

export async function launch() {
  running = await chromium.launch({ executablePath: installed(process.env.CHROMIUM || "chromium", "chromium"), args: flags });
  return running;
}

/** Writes a screenshot to the build folder. */
export async function shoot(page, name) {
  const folder = fileURLToPath(new URL("../../build/screenshots/", import.meta.url));
  mkdirSync(folder, { recursive: true });
  await page.screenshot({ path: `${folder}${name}.png`, animations: "disabled" });
}
