// HAProxy with the configuration that we ship for fixed hosts.
import { fixedHosts } from "./harness/fixedhosts.mjs";
import { HAProxy } from "./harness/haproxy.mjs";

// It checks the nodes itself and cuts the connections of one that does not answer, unless the heartbeat, here so much shorter, is first.
fixedHosts(HAProxy, { frozen: ["transport close", "transport error", "ping timeout"], checks: true });
