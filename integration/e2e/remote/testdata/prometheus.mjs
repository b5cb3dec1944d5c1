// Goes through the gateway to a packaged Prometheus in a real browser, and uses its pages.
import assert from 'node:assert/strict';
import { enter, open, say, world } from './visit.mjs';

const { browser, context, page, complaints, snap } = await open();

// use does what people do with the pages of an origin, and gives what they complain of.
async function use(origin, shots) {
  await page.goto(`${origin}/`);
  assert.equal(new URL(page.url()).origin, origin);
  // An expression is typed and run: scripts, styles and the API are on the origin. Debian
  // has the pages of before 2.0 at /, which are the "classic" ones.
  await page.locator('textarea[name=expr]').first().fill('6*7+100');
  await page.locator('.execute_btn').first().click();
  await page.getByRole('tab', { name: 'Console' }).first().click();
  await page.locator('.console_table td', { hasText: /^142$/ }).first().waitFor();
  await shots('prometheus-query');
  // Another page, by its menu: its targets, of which it is one soon after its start.
  await page.locator('a.dropdown-toggle').click();
  await page.locator('a.dropdown-item', { hasText: 'Targets' }).click();
  await page.waitForURL(`${origin}/**/targets`);
  while ((await page.getByText('itself').count()) === 0) await page.reload();
  assert.equal(new URL(page.url()).origin, origin);
  await shots('prometheus-targets');
  return new Set(complaints.splice(0));
}

const own = await use(world.direct, () => Promise.resolve());
say({ step: 'without a gateway', complaints: [...own] });

const origin = await enter(context, page);
const elsewhere = [];
page.on('request', (request) => {
  if (new URL(request.url()).origin !== origin) elsewhere.push(request.url());
});
const through = await use(origin, snap);
await browser.close();
assert.deepEqual(elsewhere, []);
assert.deepEqual(through, own);
say({ step: 'end' });
