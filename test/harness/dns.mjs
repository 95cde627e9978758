// A name server that gives the same addresses for every name, and no address of IPv6.
import { createSocket } from "node:dgram";

const typeA = 1;

export class DNS {
  /** May be changed at any time. */
  addresses = [];
  #socket = createSocket("udp4");

  static async start() {
    const dns = new DNS();
    dns.#socket.on("message", (query, { port, address }) => dns.#socket.send(dns.#answer(query), port, address));
    await new Promise((resolve) => dns.#socket.bind(0, "127.0.0.1", resolve));
    dns.port = dns.#socket.address().port;
    dns.#socket.unref(); // it ends with this process
    return dns;
  }

  #answer(query) {
    let end = 12; // behind the header comes the name, as labels with their lengths
    while (query[end] > 0) end += 1 + query[end];
    const question = query.subarray(12, end + 5); // with type and class
    const found = query.readUInt16BE(end + 1) === typeA ? this.addresses : [];
    const header = Buffer.alloc(12);
    query.copy(header, 0, 0, 2);
    header.writeUInt16BE(0x8580, 2); // an answer, authoritative, without error
    header.writeUInt16BE(1, 4);
    header.writeUInt16BE(found.length, 6);
    // The name as a pointer to that of the question, type A, class IN, good for 1 s, 4 bytes.
    const records = found.map((address) => Buffer.from([0xc0, 12, 0, typeA, 0, 1, 0, 0, 0, 1, 0, 4, ...address.split(".").map(Number)]));
    return Buffer.concat([header, question, ...records]);
  }
}
