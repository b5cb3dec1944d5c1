// What scripts that go through the gateway in a real browser have in common. The world is
// described in the environment variable WORLD.
import assert from 'node:assert/strict';
import { createRequire } from 'node:module';

export const world = JSON.parse(process.env.WORLD);
const require = createRequire(`${world.ui}/package.json`);
const { chromium } = require('playwright-core');

// say prints one JSON line.
export const say = (what) => console.log(JSON.stringify(what));

// open starts the browser with one page. The full Chromium reads the roots from the NSS
// database of the home directory.
export async function open() {
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
  return { browser, context, page, complaints, snap };
}

// enter takes a page from the gateway to the control centre and, with a grant, back. It
// gives the origin of the session. The control centre's page is made here: it has a grant
// made at the desk, and sends it as a form.
export async function enter(context, page) {
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
      body: `<!doctype html><title>grant</title><link rel="icon" href="data:,"><form method="post" action="${to.origin}/.ara/redeem"><input type="hidden" name="grant" value="${await made.text()}"></form><script>document.forms[0].submit()</script>`,
    });
  });
  // A gateway that has just started refuses grants, which could be from before.
  do {
    await page.goto(`${world.ara}/begin?session=${world.session}`);
    assert.equal(new URL(page.url()).origin, world.ccc);
    await page.goto(page.url(), { waitUntil: 'commit' }); // what is redirected cannot be answered by a script
    await page.waitForURL((url) => url.hostname.endsWith(`.${world.domain}`));
  } while (new URL(page.url()).pathname === '/.ara/redeem' && visits < 20);
  // What is intercepted goes through the script, bodies too.
  await context.unrouteAll();
  say({ step: 'let in', visits });
  return new URL(page.url()).origin;
}
