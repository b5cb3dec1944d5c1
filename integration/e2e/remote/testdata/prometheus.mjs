// Goes through the gateway to a packaged Prometheus in a real browser, and uses its pages.
import assert from 'node:assert/strict';
import { enter, open, say, world } from './visit.mjs';

const { browser, context, page, complaints, snap } = await open();
const elsewhere = [];
page.on('request', (request) => {
  const host = new URL(request.url()).hostname;
  if (!host.endsWith(`.${world.domain}`) && host !== world.domain && new URL(request.url()).origin !== world.ccc) elsewhere.push(request.url());
});
const origin = await enter(context, page);
assert.equal(new URL(page.url()).origin, origin);
say({ step: 'page', title: await page.title(), path: new URL(page.url()).pathname });

// An expression is typed and run: scripts, styles and the API are on the origin. Debian
// has the pages of before 2.0 at /, which are the "classic" ones.
const field = page.locator('textarea[name=expr]').first();
await field.fill('6*7+100');
await page.locator('.execute_btn').first().click();
await page.getByRole('tab', { name: 'Console' }).first().click();
await page.locator('.console_table td', { hasText: /^142$/ }).first().waitFor();
await snap('prometheus-query');
say({ step: 'query' });

// Another page, by its menu: its targets, of which it is one.
await page.locator('a.dropdown-toggle').click();
await page.locator('a.dropdown-item', { hasText: 'Targets' }).click();
await page.getByText('itself').first().waitFor();
assert.equal(new URL(page.url()).origin, origin);
await snap('prometheus-targets');
say({ step: 'targets', path: new URL(page.url()).pathname });

await browser.close();
assert.deepEqual(elsewhere, []);
assert.deepEqual(complaints, []);
say({ step: 'end' });
