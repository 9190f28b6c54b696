// Opens a report in headless Chromium as a reader would: node open_report.cjs REPORT OUTPUT
// Prints, for every screen and colour scheme, what went wrong and what axe has found.
const { chromium } = require("playwright-core");
const { readFileSync } = require("node:fs");
const path = require("node:path");
const { pathToFileURL } = require("node:url");

const WIDTHS = [400, 1280, 1920];
const SCHEMES = ["light", "dark"];

async function look(browser, url, folder, width, scheme, axe) {
  const context = await browser.newContext({
    viewport: { width, height: 900 },
    colorScheme: scheme,
  });
  const page = await context.newPage();
  const errors = [];
  const requests = [];
  page.on("console", (message) => {
    if (["error", "warning"].includes(message.type())) errors.push(message.text());
  });
  page.on("pageerror", (error) => errors.push(String(error)));
  page.on("request", (request) => {
    if (request.url() !== url && !request.url().startsWith("data:")) requests.push(request.url());
  });
  await page.goto(url);
  const found = { width, scheme, errors, requests };
  found.scrolls = await page.evaluate(
    () => document.documentElement.scrollWidth > document.documentElement.clientWidth,
  );
  await page.screenshot({ path: path.join(folder, `${width}-${scheme}.png`), fullPage: true });
  if (width === 1280 && scheme === "light") {
    await page.pdf({ path: path.join(folder, "report.pdf"), format: "A4" });
    if (await page.$("#programs-table")) found.tried = await sortFilterAndOpen(page);
  }
  await page.evaluate(() => {
    for (const one of document.querySelectorAll("details")) one.open = true;
  });
  await page.evaluate(axe);
  const results = await page.evaluate(() => window.axe.run());
  found.num_passed = results.passes.length;
  found.violations = results.violations
    .filter((one) => ["serious", "critical"].includes(one.impact))
    .map((one) => `${one.id}: ${one.nodes.map((node) => node.target.join(" ")).join(", ")}`);
  await context.close();
  return found;
}

async function sortFilterAndOpen(page) {
  const column = (place) =>
    page.$$eval(`#programs-table tbody tr:not([hidden]) td:nth-child(${place})`, (cells) =>
      cells.map((cell) => cell.dataset.sort),
    );
  for (let click = 0; click < 2; click += 1) {
    await page.click("#programs-table th:nth-child(3) button"); // score: ascending, descending
  }
  const scores = await column(3);
  await page.fill("#filter-text", "causality");
  const verdicts = await column(4);
  await page.click("#programs-table tbody tr:not([hidden]) a");
  const opened = await page.evaluate(
    () => document.querySelector(":target").closest("details").open,
  );
  return { scores, verdicts, opened };
}

(async () => {
  const [report, folder] = process.argv.slice(2);
  const axe = readFileSync(require.resolve("axe-core/axe.min.js"), "utf8");
  const browser = await chromium.launch({
    executablePath: process.env.CHROMIUM,
    args: ["--no-sandbox"], // a container's root has no other way
  });
  const url = pathToFileURL(report).href;
  const seen = [];
  for (const width of WIDTHS) {
    for (const scheme of SCHEMES) {
      seen.push(await look(browser, url, folder, width, scheme, axe));
    }
  }
  await browser.close();
  console.log(JSON.stringify(seen));
})();
