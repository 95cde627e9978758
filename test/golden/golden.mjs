// Writes what the official encoders make of packets, payloads and values into JSON files beside the Go tests that
// read them, after the official decoders have read it all back. Run by `make golden`; the files are committed.
import { readFileSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { defaultVectors, protocol3Vectors } from "./default.mjs";
import { msgpackVectors, valueVectors } from "./msgpack.mjs";
import { payload3Vectors, payload4Vectors } from "./engine.mjs";

const require = createRequire(import.meta.url);
const root = new URL("../../", import.meta.url);

function version(name) {
  return JSON.parse(readFileSync(new URL(`node_modules/${name}/package.json`, import.meta.url))).version;
}

// One vector a line: a change of one is a change of one line.
function write(path, packages, groups) {
  const made = packages.map((name) => `${name} ${version(name)}`).join(", ");
  const body = Object.entries(groups)
    .map(([key, list]) => `  ${JSON.stringify(key)}: [\n${list.map((v) => `    ${JSON.stringify(v)}`).join(",\n")}\n  ]`)
    .join(",\n");
  writeFileSync(new URL(path, root), `{\n  "made by": ${JSON.stringify(made)},\n${body}\n}\n`);
  console.log(`${path}: ${Object.entries(groups).map(([key, list]) => `${list.length} ${key}`).join(", ")}`);
}

write("pkg/socketio/parser/testdata/default.json", ["socket.io-parser"], defaultVectors(require("socket.io-parser")));
write("pkg/socketio/parser/testdata/default2.json", ["socket.io-parser-3"], protocol3Vectors(require("socket.io-parser-3")));
write("pkg/socketio/parser/testdata/msgpack.json", ["socket.io-msgpack-parser"], msgpackVectors(require("socket.io-msgpack-parser"), require("notepack.io-2")));
write("pkg/socketio/parser/testdata/values.json", ["notepack.io-2", "notepack.io"], valueVectors(require("notepack.io-2"), require("notepack.io")));
write("internal/engineio/testdata/payload4.json", ["engine.io-parser"], payload4Vectors(require("engine.io-parser")));
write("internal/engineio/testdata/payload3.json", ["engine.io", "engine.io-parser-2"],
  payload3Vectors(require("./node_modules/engine.io/build/parser-v3/index.js"), require("engine.io-parser-2")));
