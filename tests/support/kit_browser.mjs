// A browser with a page of `useChat({ resume: true })`: it asks, is reloaded while the run goes on, and is told the end.
import puppeteer from "puppeteer-core";

const [base, chromium] = process.argv.slice(2);
const browser = await puppeteer.launch({ executablePath: chromium, args: ["--no-sandbox", "--disable-gpu"] });
const page = await browser.newPage();
const failures = [];
page.on("pageerror", (error) => failures.push(error.message));
const text = () => page.evaluate(() => document.querySelector("ul").innerText);
const held = () => page.evaluate(() => window.held());

await page.goto(base);
await page.waitForFunction(() => window.held?.().status === "ready");
await page.evaluate(() => void window.say("How deep is it?")); // which goes on: what it returns is awaited else
await page.waitForFunction(() => document.querySelectorAll("li")[1]?.innerText.length > 10, { polling: 50 });
const before = await text();
await page.reload();
await page.waitForFunction(() => document.querySelector("li")?.innerText.length > 10);
await page.waitForFunction(() => window.held().status === "ready", { timeout: 20000 });
const after = await held();
await page.reload();
await page.waitForFunction(() => window.held?.().status === "ready");
const late = await held();
process.stdout.write(JSON.stringify({ before, after, late, failures }));
await browser.close();
