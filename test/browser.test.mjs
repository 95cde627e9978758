// The chat page and one written the tutorial's way, in a real browser, on different nodes of the demo.
import assert from "node:assert/strict";
import { before, test } from "node:test";
import { fileURLToPath } from "node:url";
import { launch, shoot } from "./harness/browser.mjs";
import { connect } from "./harness/client.mjs";
import { Demo } from "./harness/demo.mjs";
import { until } from "./harness/program.mjs";

const event = "chat message";
const axe = fileURLToPath(import.meta.resolve("axe-core/axe.min.js"));
const jquery = fileURLToPath(new URL("node_modules/jquery/dist/jquery.js", import.meta.url));
const tutorial = fileURLToPath(new URL("tutorial.html", import.meta.url));
let demo, browser;

before(async () => {
  demo = await Demo.start();
  browser = await launch();
});

/** Opens a page in a browser profile of its own; whatever it complains about is in page.complaints. */
async function open({ path = "/", name, ...options } = {}) {
  const context = await browser.newContext({ baseURL: demo.url, viewport: { width: 1000, height: 700 }, ...options });
  const page = await context.newPage();
  page.setDefaultTimeout(15_000);
  page.complaints = [];
  page.on("pageerror", (error) => page.complaints.push(error.message));
  page.on("console", (message) => { if (message.type() === "error") page.complaints.push(message.text()); });
  await page.route("**/tutorial.html", (route) => route.fulfill({ path: tutorial }));
  await page.route("**/jquery.js", (route) => route.fulfill({ path: jquery }));
  if (name) await page.addInitScript((value) => localStorage.setItem("chorus.name", value), name);
  await page.goto(path);
  return page;
}

/** Opens the chat page and waits until it is connected by WebSocket. */
async function chat(options) {
  const page = await open(options);
  await page.locator("#status", { hasText: "WebSocket" }).waitFor();
  return page;
}

async function say(page, text) {
  await page.locator("#m").fill(text);
  await page.locator("#m").press("Enter");
}

const texts = (page) => page.locator("#messages li:not(.note) .text").allTextContents();
const see = (page, text) => page.locator("#messages li", { hasText: text }).first().waitFor();
const nodeOf = async (page) => /Node (\w+)/.exec(await page.locator("#status").textContent())[1];
const close = async (...pages) => {
  for (const page of pages) {
    assert.deepEqual(page.complaints, []);
    await page.context().close();
  }
};

test("two pages on different nodes chat, and HTML stays text", async () => {
  const [ada, ben] = [await chat({ name: "Ada" }), await chat({ name: "Ben" })];
  assert.notEqual(await nodeOf(ada), await nodeOf(ben), "the front put them on different nodes");
  const lines = ["Good morning, Ben!", "<img src=x onerror=\"document.title='owned'\"><script>document.title='owned'</script>", "&lt;b&gt; & \"quotes\""];
  for (const line of lines) await say(ada, line);
  await see(ben, lines[2]);
  await say(ben, "Good morning to you");
  for (const page of [ada, ben]) {
    await see(page, "Good morning to you");
    assert.deepEqual(await texts(page), [...lines, "Good morning to you"]);
    assert.equal(await page.locator("#log :is(img, script)").count(), 0);
    assert.equal(await page.title(), "Chorus chat");
    assert.deepEqual(await page.locator("#messages li:not(.follows) b").allTextContents(), ["Ada", "Ben"]);
    assert.equal(await page.locator("#waiting li").count(), 0, "nothing is left waiting");
  }
  assert.equal(await ada.locator("#messages li.mine").count(), 3);
  assert.equal(await ben.locator("#messages li.mine").count(), 1);
  await close(ada, ben);
});

test("a page written the tutorial's way chats with ours", async () => {
  const [ours, theirs] = [await chat({ name: "Ada" }), await open({ path: "/tutorial.html" })];
  await say(theirs, "from the <tutorial>");
  await see(ours, "from the <tutorial>");
  await say(ours, "from the page");
  await see(theirs, "from the page");
  assert.deepEqual(await theirs.locator("#messages li").allTextContents(), ["from the <tutorial>", "from the page"]);
  assert.deepEqual(await ours.locator("#messages b").allTextContents(), ["Somebody", "Ada"]);
  await shoot(theirs, "tutorial");
  theirs.complaints = theirs.complaints.filter((text) => !text.includes("404")); // it has no icon
  await close(ours, theirs);
});

test("the page shows any JSON and binary, and ignores what it does not know", async () => {
  const [page, client] = [await chat(), await connect(demo.url)];
  const deep = `${"[".repeat(900)}"${"x".repeat(500)}"${"]".repeat(900)}`;
  const messages = [
    [[{ a: { b: [1, null] } }], '{\n  "a": {\n    "b": [\n      1,\n      null\n    ]\n  }\n}'],
    [[null], "null"],
    [[42], "42"],
    [[""], ""],
    [[Buffer.from([1, 2, 255])], "binary, 3 bytes: 01 02 ff"],
    [[{ file: Buffer.alloc(20) }], '{\n  "file": "(binary, 20 bytes: 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 …)"\n}'],
    [["with an offset", { name: "Zoë" }, "1700000000000-0"], "with an offset"],
    [["with an offset only", "1700000000000-0"], "with an offset only"],
    [["strange name", { name: 5 }], "strange name"],
    [["x".repeat(100_000)], `${"x".repeat(8000)} … and 92,000 more characters`],
    [[JSON.parse(deep)], deep],
  ];
  for (const [args] of messages) client.emit(event, ...args);
  client.emit(event); // without any argument
  client.emit(event, "last", { name: "Zoë" });
  await see(page, "last");
  const shown = await texts(page);
  assert.equal(shown.find((text) => text.includes("[object")), undefined);
  for (const [, expected] of messages) assert.ok(shown.includes(expected), `${expected.slice(0, 100)} is missing in ${JSON.stringify(shown).slice(0, 3000)}`);
  await shoot(page, "payloads");
  await close(page);
});

test("keyboard alone is enough, and the name is kept", async () => {
  const page = await chat();
  assert.equal(await page.evaluate(() => document.activeElement.id), "m", "the message field has the focus");
  await page.keyboard.press("Shift+Tab");
  assert.equal(await page.evaluate(() => document.activeElement.id), "name");
  await page.keyboard.press("Control+A");
  await page.keyboard.type("Grace");
  await page.keyboard.press("Enter");
  assert.equal(await page.evaluate(() => document.activeElement.id), "m");
  await page.keyboard.type("typed");
  await page.keyboard.press("Tab");
  await page.keyboard.press("Space"); // the Send button
  await see(page, "typed");
  assert.equal(await page.locator("#m").inputValue(), "");
  await page.locator("#m").press("Enter"); // nothing to send
  await page.reload();
  await page.locator("#status", { hasText: "WebSocket" }).waitFor();
  assert.equal(await page.locator("#name").inputValue(), "Grace");
  await say(page, "again");
  await see(page, "again");
  assert.deepEqual(await texts(page), ["again"]);
  await close(page);
});

test("the page works where storage is forbidden", async () => {
  const context = await browser.newContext({ baseURL: demo.url });
  const page = await context.newPage();
  page.complaints = [];
  page.on("pageerror", (error) => page.complaints.push(error.message));
  await page.addInitScript(() => Object.defineProperty(window, "localStorage", { get() { throw new DOMException("forbidden", "SecurityError"); } }));
  await page.goto("/");
  await page.locator("#name").fill("Nobody");
  await say(page, "still here");
  await see(page, "still here");
  await close(page);
});

test("what is sent while disconnected is shown as waiting and arrives later", async () => {
  const [page, other] = [await chat({ name: "Ada" }), await chat({ name: "Ben" })];
  await page.context().setOffline(true);
  await page.locator("#status", { hasText: "trying again" }).waitFor();
  await say(page, "into the dark");
  await page.locator("#waiting li", { hasText: "waiting for the connection" }).waitFor();
  assert.deepEqual(await texts(page), []);
  await shoot(page, "disconnected");
  await say(other, "missed");
  await page.context().setOffline(false);
  await see(page, "into the dark");
  await see(other, "into the dark");
  await page.locator(".note", { hasText: "Connected again" }).waitFor();
  assert.equal(await page.locator("#waiting li").count(), 0);
  page.complaints = page.complaints.filter((text) => !text.includes("ERR_INTERNET_DISCONNECTED"));
  await close(page, other);
});

test("a message that may be lost can be sent again, and an ended connection be made anew", async () => {
  const page = await open({ name: "Ada" });
  let socket;
  let deaf = false; // towards the page's events
  await page.routeWebSocket(/socket\.io/, (route) => {
    const server = route.connectToServer();
    socket = route;
    server.onMessage((message) => route.send(message));
    route.onMessage((message) => { if (!deaf || !String(message).startsWith("42")) server.send(message); });
  });
  await page.reload();
  await page.locator("#status", { hasText: "WebSocket" }).waitFor();

  deaf = true;
  await say(page, "lost on the way");
  await page.locator("#waiting li", { hasText: "sending" }).waitFor();
  await socket.close();
  await page.locator("#waiting li", { hasText: "perhaps not delivered" }).waitFor();
  await page.locator(".note", { hasText: "Connected again" }).waitFor();
  await page.locator("#status", { hasText: "WebSocket" }).waitFor();
  deaf = false;
  await page.getByRole("button", { name: "Send again" }).click();
  await see(page, "lost on the way");
  assert.deepEqual(await texts(page), ["lost on the way"]);
  assert.equal(await page.locator("#waiting li").count(), 0);

  socket.send("41"); // what a server sends that does not want this client any more
  await page.locator("#status", { hasText: "The server ended the connection" }).waitFor();
  await say(page, "said meanwhile");
  await page.locator("#waiting li", { hasText: "waiting for the connection" }).waitFor();
  await page.getByRole("button", { name: "Connect again" }).click();
  await see(page, "said meanwhile");
  assert.ok(await page.locator("#again").isHidden());
  await close(page);
});

test("reading above is not disturbed, and the page stays small", async () => {
  const [page, client] = [await chat(), await connect(demo.url)];
  const tail = () => page.locator("#messages li").last().textContent();
  const flood = async (from, to) => {
    for (let i = from; i < to; i++) client.emit(event, `line ${i}`, { name: "Zoë" });
    await until(`line ${to - 1} is shown`, async () => (await tail()).includes(`line ${to - 1}`));
  };
  client.emit(event, "line 0");
  await see(page, "line 0");
  await flood(1, 700);
  assert.equal(await page.locator("#messages li").count(), 500);
  const gap = () => page.evaluate(() => { const log = document.getElementById("log"); return log.scrollHeight - log.scrollTop - log.clientHeight; });
  assert.ok(await gap() < 2, "the newest message is in view");

  await page.evaluate(() => { document.getElementById("log").scrollTop -= 3000; });
  const top = () => page.evaluate(() => {
    const { top } = document.getElementById("log").getBoundingClientRect();
    const li = [...document.querySelectorAll("#messages li")].find((e) => e.getBoundingClientRect().bottom > top + 1);
    return [li.querySelector(".text").textContent, Math.round(li.getBoundingClientRect().top - top)];
  });
  const read = await top();
  await flood(700, 800); // as many go from the top of the list
  assert.deepEqual(await top(), read, "the text under the eye stays");
  assert.equal(await page.locator("#newer").textContent(), "100 new messages");
  await shoot(page, "reading");
  await page.locator("#newer").click();
  await until("the end is in view", async () => await gap() < 2);
  assert.ok(await page.locator("#newer").isHidden());
  await close(page);
});

test("a missing client bundle is said on the page", async () => {
  const page = await open();
  await page.route("**/socket.io.min.js", (route) => route.fulfill({ status: 404, body: "" }));
  await page.reload();
  await page.getByText("make client").waitFor();
  assert.match(await page.locator("#status").textContent(), /client is missing/);
  await say(page, "nobody hears this");
  assert.equal(await page.locator("#m").inputValue(), "nobody hears this");
  page.complaints = page.complaints.filter((text) => !text.includes("404"));
  await close(page);
});

for (const [look, options] of Object.entries({
  light: { colorScheme: "light" },
  dark: { colorScheme: "dark" },
  phone: { colorScheme: "light", viewport: { width: 360, height: 640 }, isMobile: true, hasTouch: true, deviceScaleFactor: 2 },
  "phone-dark": { colorScheme: "dark", viewport: { width: 320, height: 568 }, isMobile: true, hasTouch: true, reducedMotion: "reduce" },
})) {
  test(`looks and accessibility: ${look}`, async () => {
    const page = await chat({ name: "Ada", bypassCSP: true, ...options });
    await shoot(page, `${look}-empty`);
    const client = await connect(demo.url);
    const line = async (text, name) => { client.emit(event, text, { name }); await see(page, text.slice(0, 30)); };
    await line("Morning! Is the new cluster up?", "Grace");
    await say(page, "It is: three nodes, one Redis.");
    await see(page, "three nodes");
    await say(page, "This page sits on another node than yours.");
    await see(page, "another node");
    await line("Then a message that crosses Redis looks just like one that does not.", "Grace");
    await shoot(page, `${look}-chat`);
    await line("https://example.com/" + "a-very-long-path-without-any-break-".repeat(4), "Linus with quite a long name, really");
    client.emit(event, { temperature: 21.5, rooms: ["kitchen", "hall"] }, { name: "sensor 7" });
    await see(page, "temperature");
    await say(page, "Good. Who writes the release notes?");
    await see(page, "release notes");
    await page.evaluate(() => document.fonts.ready);
    await shoot(page, look);

    const width = await page.evaluate(() => document.documentElement.scrollWidth);
    assert.equal(width, page.viewportSize().width, "as wide as the screen");
    const size = await page.locator("#m").evaluate((e) => parseFloat(getComputedStyle(e).fontSize));
    assert.ok(size >= 16, "phones do not zoom into the field");
    await page.addScriptTag({ path: axe });
    const { violations } = await page.evaluate(() => axe.run(document, { runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"] }));
    assert.deepEqual(violations.map(({ id, nodes }) => [id, nodes.map(({ html, failureSummary }) => [html, failureSummary])]), []);
    await close(page);
  });
}
