// Drives Chromium over its debugging pipe and looks at every page as a person would: wide and
// narrow, light and dark. Fails on a console error, a request that goes elsewhere, a page that is
// wider than its window, text too faint to read, a control without a name, or a broken connect flow.
// Needs Node and Chromium, and nothing from a package registry. Started by tests/browser/run.
import { spawn } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

const [, , served, shots] = process.argv;
const sites = Object.fromEntries(
  served.trim().split("\n").map((line) => {
    const [, name, url, link] = line.split(" ");
    return [name, { url, link }];
  }),
);
const profile = mkdtempSync(join(tmpdir(), "leadshare-browser-"));
const chromium = spawn(
  process.env.CHROMIUM ?? "chromium",
  ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--remote-debugging-pipe", `--user-data-dir=${profile}`, "about:blank"],
  { stdio: ["ignore", "ignore", "ignore", "pipe", "pipe"] },
);
const [, , , toBrowser, fromBrowser] = chromium.stdio;
const waiting = new Map();
let heard = () => {};
let last = 0;
let rest = "";
fromBrowser.setEncoding("utf8");
fromBrowser.on("data", (chunk) => {
  const parts = (rest + chunk).split("\0");
  rest = parts.pop();
  for (const part of parts) {
    const message = JSON.parse(part);
    if (message.id) {
      const { done, failed } = waiting.get(message.id);
      waiting.delete(message.id);
      message.error ? failed(new Error(message.error.message)) : done(message.result);
    } else heard(message);
  }
});
chromium.on("exit", (code) => waiting.forEach(({ failed }) => failed(new Error(`Chromium ended with ${code}`))));
const call = (method, params = {}, sessionId) =>
  new Promise((done, failed) => {
    waiting.set(++last, { done, failed });
    toBrowser.write(JSON.stringify({ id: last, method, params, sessionId }) + "\0");
  });

const problems = [];
let where = "";
const problem = (text) => problems.push(`${where}: ${text}`);

// Runs in the page. Contrast after WCAG 2: 4.5 for text, 3 for large text.
const inspect = () => {
  const found = [];
  const start = (e) => `"${e.textContent.trim().slice(0, 30)}"`;
  if (document.documentElement.scrollWidth > innerWidth) {
    const wide = [...document.querySelectorAll("main *")].filter((e) => e.getBoundingClientRect().right > innerWidth + 1);
    found.push(`wider than the window by ${document.documentElement.scrollWidth - innerWidth} px: ${wide.slice(0, 3).map(start)}`);
  }
  if (document.querySelectorAll("h1").length !== 1) found.push("not exactly one h1");
  if (!document.title || !document.documentElement.lang) found.push("no title or language");
  const numbers = (color) => color.match(/[\d.]+/g).map(Number);
  const light = ([r, g, b]) => {
    const part = (v) => ((v /= 255) <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
    return 0.2126 * part(r) + 0.7152 * part(g) + 0.0722 * part(b);
  };
  const ground = (e) => {
    for (; e; e = e.parentElement) {
      const color = numbers(getComputedStyle(e).backgroundColor);
      if (color.length === 3 || color[3] > 0) return color;
    }
    return [255, 255, 255];
  };
  for (const e of document.querySelectorAll("body *")) {
    const own = [...e.childNodes].some((n) => n.nodeType === 3 && n.textContent.trim());
    const box = e.getBoundingClientRect();
    if (!own || !box.width || !box.height) continue;
    const style = getComputedStyle(e);
    const size = parseFloat(style.fontSize);
    const [bright, dim] = [light(numbers(style.color)), light(ground(e))].sort((x, y) => y - x);
    const contrast = (bright + 0.05) / (dim + 0.05);
    const needed = size >= 24 || (size >= 18.66 && style.fontWeight >= 700) ? 3 : 4.5;
    if (contrast < needed) found.push(`contrast ${contrast.toFixed(2)} on ${start(e)}`);
    if (size < 12) found.push(`text of ${size} px: ${start(e)}`);
  }
  for (const e of document.querySelectorAll("a, button, input:not([type=hidden]), select, summary")) {
    const named = e.textContent.trim() || e.getAttribute("aria-label") || (e.id && document.querySelector(`label[for="${e.id}"]`));
    if (!named) found.push(`no name: ${e.outerHTML.slice(0, 60)}`);
  }
  for (const e of document.querySelectorAll("button, a.button, input:not([type=hidden]), select")) {
    if (e.getBoundingClientRect().height < 24) found.push(`too small to hit: ${start(e)}`);
  }
  return found;
};

let session;
let loaded = () => {};
let status = 0;
heard = ({ method, params, sessionId }) => {
  if (sessionId !== session) return;
  if (method === "Page.loadEventFired") loaded();
  if (method === "Runtime.exceptionThrown") problem(`exception: ${params.exceptionDetails.text}`);
  if (method === "Runtime.consoleAPICalled" && params.type === "error") problem("console error");
  // A page that is meant to answer 404 is no error; its status is looked at below.
  const { entry } = params;
  if (method === "Log.entryAdded" && entry.level === "error" && !/^Failed to load.*status of 4\d\d/.test(entry.text)) problem(entry.text);
  if (method === "Network.responseReceived" && params.type === "Document") status = params.response.status;
  if (method === "Network.requestWillBeSent" && !/^(http:\/\/127\.0\.0\.1:|data:)/.test(params.request.url)) problem(`asks ${params.request.url}`);
};
const page = (method, params) => call(method, params, session);
const run = async (expression) => (await page("Runtime.evaluate", { expression, returnByValue: true })).result.value;
const after = async (action) => {
  const ready = new Promise((done, failed) => {
    loaded = done;
    setTimeout(() => failed(new Error("no page after 15 s")), 15000).unref();
  });
  await action();
  await ready;
};
const open = (url) => after(() => page("Page.navigate", { url }));
const click = (selector) => after(() => run(`document.querySelector(${JSON.stringify(selector)}).click()`));
const expect = async (text) => {
  if (!(await run("document.body.innerText")).includes(text)) problem(`"${text}" is not on the page`);
};

const views = [1280, 390].flatMap((width) => ["light", "dark"].map((scheme) => ({ width, scheme })));
const look = async (name, expected) => {
  if (status !== expected) problem(`answers ${status}, not ${expected}`);
  for (const { width, scheme } of views) {
    where = `${name} at ${width} px, ${scheme}`;
    await page("Emulation.setDeviceMetricsOverride", { width, height: 900, deviceScaleFactor: 1, mobile: width < 600 });
    await page("Emulation.setEmulatedMedia", { features: [{ name: "prefers-color-scheme", value: scheme }] });
    for (const text of await run(`(${inspect})()`)) problem(text);
    if (shots) {
      const { data } = await page("Page.captureScreenshot", { captureBeyondViewport: true });
      writeFileSync(join(shots, `${name}-${width}-${scheme}.png`), Buffer.from(data, "base64"));
    }
  }
  where = name;
};

let code = 1;
try {
  if (shots) mkdirSync(shots, { recursive: true });
  const { targetId } = await call("Target.createTarget", { url: "about:blank" });
  session = (await call("Target.attachToTarget", { targetId, flatten: true })).sessionId;
  for (const domain of ["Page", "Runtime", "Log", "Network"]) await page(`${domain}.enable`);

  const { full, empty, guarded } = sites;
  for (const [site, { url }] of [["full", full], ["empty", empty]]) {
    for (const [name, path] of [["overview", "/"], ["leads", "/leads"], ["changes", "/changes"], ["connections", "/connections"]]) {
      where = `${site}-${name}`;
      await open(url + path);
      await look(where, 200);
    }
  }
  for (const [name, path, expected] of [["lead", "/leads/lead-0", 200], ["lead-refused", "/leads/lead-4", 200], ["not-found", "/nothing", 404]]) {
    where = name;
    await open(full.url + path);
    await look(where, expected);
  }
  where = "lead-clear";
  await open(`${full.url}/leads/lead-5`);
  await click("main form[method=post] button");
  await expect("It was noted");
  await look(where, 200);

  where = "login";
  await open(`${guarded.url}/leads`);
  await look(where, 200);
  await run(`document.querySelector("#password").value = "wrong"`);
  await click("main button");
  await expect("not the password");
  await run(`document.querySelector("#password").value = "correct horse battery"`);
  await click("main button");
  await expect("Ottobrunn");
  if (!(await run("location.pathname")).startsWith("/leads")) problem("does not lead back to where one wanted to go");
  await click("header button.link");
  await expect("Sign in");

  // A partner connects: everything is there at one vendor, a field is missing at the other.
  for (const [name, site, outcome] of [["connect", guarded, "nothing more to do"], ["connect-missing", empty, "Create property"]]) {
    where = name;
    await open(site.link);
    await look(where, 200);
    await click("form button");
    where = `${name}-denied`;
    await click("#deny");
    await expect("choose Allow");
    await look(where, 409);
    await click("main a.button");
    await click("form button");
    where = `${name}-vendor`;
    await click("#allow");
    where = `${name}-result`;
    await expect(outcome);
    await look(where, 200);
    await open(site.link);
    where = `${name}-used`;
    await expect("has been used");
  }
  await look("link-ended", 404);
  code = problems.length ? 1 : 0;
  console.log(problems.length ? problems.join("\n") : "browser: every page is as it should be");
} catch (error) {
  console.log([...problems, `${where}: ${error.stack}`].join("\n"));
}
chromium.once("exit", () => {
  try {
    rmSync(profile, { recursive: true, force: true, maxRetries: 20, retryDelay: 100 });
  } catch (error) {
    // Its children may write for a moment longer: what was seen of the pages stands all the same.
    console.log(`the browser's folder stays: ${error.message}`);
  }
});
chromium.kill();
process.exitCode = code;
