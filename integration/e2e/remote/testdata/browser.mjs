// Goes through the gateway to a PBX in a real browser. The world is described in the
// environment variable WORLD; prints one JSON line for each step.
import assert from 'node:assert/strict';
import { enter, open, say, world } from './visit.mjs';

const { browser, context, page, complaints, snap } = await open();
const origin = await enter(context, page);
assert.equal(page.url(), `${origin}/login`);
await page.waitForSelector('input[name=password]');
await snap('remote-login');

await page.goto(`${origin}/.ara/`);
await page.waitForSelector('#left');
await snap('remote-control');

await page.goto(`${origin}${world.conformance}?run&size=${world.megabytes}`);
await page.waitForSelector('html[data-done]', { timeout: 60_000 + 1000 * world.megabytes });
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
