// nginx with the configurations that we ship.
import { fixedHosts } from "./harness/fixedhosts.mjs";
import { Nginx } from "./harness/nginx.mjs";

// It checks nobody: WebSockets to a node that stands still end by the clients' own heartbeat.
fixedHosts(Nginx, { frozen: ["ping timeout", "transport close", "transport error"], checks: false });
