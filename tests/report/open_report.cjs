// Opens a report in headless Chromium, as a reader would: `node open_report.cjs REPORT OUTPUT`.
// Prints one JSON object: console errors, requests, widths and axe's findings by screen and scheme.
const { chromium } = require("playwright-core");
const { pathToFileURL } = require("node:url");
const path = require("node:path");

const WIDTHS = [400, 1280, 1920];

async function look(browser, url, folder, width, colorScheme, axe) {
  const context = await browser.newContext({ viewport: { width, height: 900 }, colorScheme });
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
  const found = await page.evaluate(() => ({
    scrolls: document.documentElement.scrollWidth > document.documentElement.clientWidth,
    sortable: document.querySelectorAll("#programs-table th button").length,
  }));
  await page.screenshot({ path: path.join(folder, `${width}-${colorScheme}.png`), fullPage: true });
  if (width === 1280 && colorScheme === "light") {
    await page.pdf({ path: path.join(folder, "report.pdf"), format: "A4" });
    if (found.sortable) found.sorted = await sortAndFilter(page);
  }
  // Found by axe in the light of the page's own policy, which lets no script of ours in.
  await page.evaluate(() => document.querySelectorAll("details").forEach((one) => (one.open = true)));
  await page.evaluate(axe);
  const results = await page.evaluate(() => window.axe.run(document, { resultTypes: ["violations"] }));
  const violations = results.violations
    .filter((one) => ["serious", "critical"].includes(one.impact))
    .map((one) => `${one.id}: ${one.nodes.map((node) => node.target.join(" ")).join(", ")}`);
  await context.close();
  return { width, colorScheme, errors, requests, violations, ...found };
}

async function sortAndFilter(page) {
  const column = (place) =>
    page.$$eval(`#programs-table tbody tr:not([hidden]) td:nth-child(${place})`, (cells) =>
      cells.map((cell) => cell.dataset.sort),
    );
  await page.click("#programs-table th:nth-child(5) button");
  await page.click("#programs-table th:nth-child(5) button");
  const scores = await column(5);
  await page.fill("#filter-text", "causality");
  const verdicts = await column(4);
  return { scores, verdicts };
}

(async () => {
  const [report, folder] = process.argv.slice(2);
  const axe = require("node:fs").readFileSync(require.resolve("axe-core/axe.min.js"), "utf8");
  const browser = await chromium.launch({
    executablePath: process.env.CHROMIUM || "/usr/bin/chromium",
    args: ["--no-sandbox"],
  });
  const seen = [];
  for (const width of WIDTHS) {
    for (const scheme of ["light", "dark"]) {
      seen.push(await look(browser, pathToFileURL(report).href, folder, width, scheme, axe));
    }
  }
  await browser.close();
  console.log(JSON.stringify(seen));
})();
