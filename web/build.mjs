// Copies the browser bundles of the installed socket.io-client into dist/, with a .gz and a .br beside each.
// Same input, same bytes: nothing here depends on time or machine.
import { readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { brotliCompressSync, constants, gzipSync } from "node:zlib";

const bundles = ["socket.io.js", "socket.io.min.js", "socket.io.esm.min.js", "socket.io.msgpack.min.js"];
const source = new URL("node_modules/socket.io-client/", import.meta.url);
const target = new URL("dist/", import.meta.url);

const read = (name) => {
  try {
    return readFileSync(new URL(name, source));
  } catch (error) {
    console.error(`web/build.mjs: ${error.message}\nRun \`npm ci --ignore-scripts\` in web/ first.`);
    process.exit(1);
  }
};

const manifest = JSON.parse(read("package.json"));
const files = bundles.flatMap((name) => [name, `${name}.map`]).map((name) => [name, read(`dist/${name}`)]);

for (const name of readdirSync(target)) {
  if (name !== "README.md") rmSync(new URL(name, target), { recursive: true });
}
for (const [name, content] of files) {
  const brotli = { [constants.BROTLI_PARAM_QUALITY]: 11, [constants.BROTLI_PARAM_SIZE_HINT]: content.length };
  writeFileSync(new URL(name, target), content);
  writeFileSync(new URL(`${name}.gz`, target), gzipSync(content, { level: 9 }));
  writeFileSync(new URL(`${name}.br`, target), brotliCompressSync(content, { params: brotli }));
}
console.log(`web/dist: ${files.length} files of socket.io-client ${manifest.version}`);
