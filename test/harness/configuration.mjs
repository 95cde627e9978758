// Configuration files from deploy/, of which a test changes only what must differ on one machine.
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";

const folders = new Set();
process.on("exit", () => folders.forEach((folder) => rmSync(folder, { recursive: true, force: true })));

/**
 * Writes deploy/name into a folder that goes with this process, with every [pattern, replacement] carried out, and returns
 * the folder and the file's path. A pattern that the file does not have is an error: then the test would try something else than is shipped.
 */
export function configure(name, changes) {
  let text = readFileSync(new URL(`../../deploy/${name}`, import.meta.url), "utf8");
  for (const [pattern, replacement] of changes) {
    const changed = text.replace(pattern, replacement);
    if (changed === text) throw new Error(`deploy/${name} has nothing like ${pattern}`);
    text = changed;
  }
  const folder = mkdtempSync(join(tmpdir(), "chorus-balancer-"));
  folders.add(folder);
  const path = join(folder, basename(name));
  writeFileSync(path, text);
  return { folder, path };
}
