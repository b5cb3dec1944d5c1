// Goes through the gateway to a PBX in a real browser. The world is described in the
// environment variable WORLD; prints one JSON line for each step.
import assert from 'node:assert/strict';
import { createRequire } from 'node:module';

const world = JSON.parse(process.env.WORLD);
const require = createRequire(`${world.ui}/package.json`);
const { chromium } = require('playwright-core');
const say = (what) => console.log(JSON.stringify(what));

// The full Chromium reads the roots from the NSS database of the home directory.
const browser = await chromium.launch({
  executablePath: world.chromium,
  args: [
    '--headless', '--no-sandbox', '--disable-gpu', '--no-first-run',
    '--disable-background-networking', '--disable-component-update', '--disable-sync',
  ],
});
const context = await browser.newContext({ viewport: { width: 1100, height: 900 }, locale: 'en' });
context.setDefaultTimeout(60_000);
const page = await context.newPage();
const complaints = [];
page.on('pageerror', (error) => complaints.push(error.message));
const snap = (name) => (world.shots ? page.screenshot({ path: `${world.shots}/${name}.png`, fullPage: true, animations: 'disabled' }) : Promise.resolve());

// The page of the control centre: it has a grant made, and sends it as a form.
let visits = 0;
await context.route(`${world.ccc}/remote/**`, async (route) => {
  visits++;
  const url = new URL(route.request().url());
  assert.equal(url.pathname, `/remote/${world.session}`);
  const label = url.searchParams.get('label');
  const made = await fetch(`${world.desk}/grant`, { method: 'POST', body: new URLSearchParams(url.searchParams) });
  assert.ok(made.ok, await made.clone().text());
  const to = new URL(world.ara);
  to.hostname = `${label}.${world.domain}`;
  await route.fulfill({
    contentType: 'text/html',
    headers: { 'Referrer-Policy': 'no-referrer' },
    body: `<!doctype html><title>grant</title><form method="post" action="${to.origin}/.ara/redeem"><input type="hidden" name="grant" value="${await made.text()}"></form><script>document.forms[0].submit()</script>`,
  });
});

// A gateway that has just started refuses grants, which could be from before.
do {
  await page.goto(`${world.ara}/begin?session=${world.session}`);
  assert.equal(new URL(page.url()).origin, world.ccc);
  await page.goto(page.url(), { waitUntil: 'commit' }); // what is redirected cannot be answered by a script
  await page.waitForURL((url) => url.hostname.endsWith(`.${world.domain}`));
} while (new URL(page.url()).pathname === '/.ara/redeem' && visits < 20);
const origin = new URL(page.url()).origin;
assert.equal(page.url(), `${origin}/login`);
await page.waitForSelector('input[name=password]');
await snap('remote-login');
say({ step: 'let in', visits });

await page.goto(`${origin}/.ara/`);
await page.waitForSelector('#left');
await snap('remote-control');

await page.goto(`${origin}${world.conformance}?run&size=${world.megabytes}`);
await page.waitForSelector('html[data-done]');
const outcome = await page.evaluate(() => ({
  done: document.documentElement.dataset.done,
  rows: [...document.querySelectorAll('#results tr')].map((row) => row.innerText.replaceAll('\t', ': ')),
}));
await snap('remote-conformance');
say({ step: 'conformance', ...outcome });
assert.equal(outcome.done, 'passed');
assert.ok(outcome.rows.length > 10);

// The administrator ends it: the page is not there any more.
assert.ok((await fetch(`${world.desk}/end`, { method: 'POST' })).ok);
const answer = await page.goto(`${origin}/login`);
assert.equal(await page.locator('input[name=password]').count(), 0);
assert.ok(answer.status() >= 400, `${answer.status()}`);
await snap('remote-ended');
await browser.close();
assert.deepEqual(complaints, []);
say({ step: 'end' });
