// The demo: three nodes and their front in one process, as `make run` starts it.
import { programPath } from "./node.mjs";
import { Program } from "./program.mjs";

export class Demo {
  static async start(args = []) {
    const demo = new Demo();
    const any = "127.0.0.1:0";
    demo.program = new Program("demo", programPath(), ["demo", "--addr", any, "--node-addr", any, "--internal-addr", any, ...args]);
    [, demo.url] = await demo.program.until("its addresses", () => /chat +(http\S+)[^]*Ctrl-C/.exec(demo.program.output));
    return demo;
  }

  stop(signal = "SIGINT") {
    return this.program.stop(signal);
  }
}
