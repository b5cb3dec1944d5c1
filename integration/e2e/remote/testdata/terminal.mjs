// A terminal in a real browser, through the gateway, at a stock SSH server.
import assert from 'node:assert/strict';
import { enter, open, say, world } from './visit.mjs';

const { browser, context, page, complaints, snap } = await open();
const logged = [];
page.on('console', (m) => { if (['error', 'warning'].includes(m.type())) logged.push(`${m.location().url} ${m.text()}`); });
context.setDefaultTimeout(20_000);
const foreign = [];
context.on('request', (r) => {
  const { hostname } = new URL(r.url());
  if (hostname !== world.domain && !hostname.endsWith(`.${world.domain}`) && !r.url().startsWith(world.ccc)) foreign.push(r.url());
});
const origin = await enter(context, page);
assert.equal(page.url(), `${origin}/.ara/terminal`);

// What the terminal shows, as text.
const shown = () => page.evaluate(() => document.querySelector('.xterm-rows').innerText.replaceAll('\u00a0', ' '));
const sees = async (text) => {
  for (let i = 0; ; i++) {
    const now = await shown();
    if (now.includes(text)) return;
    if (i > 300) assert.fail(`${JSON.stringify(text)} is not in ${now}`);
    await page.waitForTimeout(50);
  }
};

assert.ok(await page.isVisible('#recorded'));
await page.fill('#user', 'root');
await snap('terminal-login');
await page.click('#login button');
await page.waitForSelector('#prompt-0[type=password]');
const key = await page.innerText('#fingerprint');
assert.match(key, /^ssh-ed25519 SHA256:/);
assert.ok(await page.isVisible('#pinned'));
await snap('terminal-password');
await page.fill('#prompt-0', 'wrong');
await page.click('#ask button');
await page.waitForSelector('#connecting', { state: 'hidden' });
await page.waitForSelector('#prompt-0[type=password]');
await page.fill('#prompt-0', world.password);
await page.click('#ask button');
await page.waitForSelector('#screen .xterm-rows');
await page.waitForSelector('#ask', { state: 'hidden' });
await page.waitForSelector('#connecting', { state: 'hidden' });
say({ step: 'signed in', key });

const type = async (text) => { await page.keyboard.type(text); await page.keyboard.press('Enter'); };
await type(`PS1='shell $ '; clear; echo Grüße 日本 $((6*7)) ${world.canary}`);
await sees(`Grüße 日本 42 ${world.canary}`);
await type('printf "\\033[31mred \\033[38;2;10;200;120mtrue\\033[0m\\n"; stty size');
await sees('true');
const size = async () => {
  await type('echo size $(stty size) .');
  await page.waitForTimeout(100);
  for (let i = 0; i < 300; i++) {
    const all = [...(await shown()).matchAll(/size (\d+) (\d+) \./g)];
    if (all.length) return all.at(-1).slice(1).map(Number);
    await page.waitForTimeout(50);
  }
  assert.fail('no size');
};
const before = await size();
await snap('terminal-shell');
await page.setViewportSize({ width: 760, height: 520 });
let after = before;
for (let i = 0; i < 20 && (after[0] >= before[0] || after[1] >= before[1]); i++) {
  await type('clear');
  after = await size();
}
assert.ok(after[0] < before[0] && after[1] < before[1], `${before} to ${after}`);
say({ step: 'resized', before, after });

// The administrator ends it.
const began = Date.now();
assert.ok((await fetch(`${world.desk}/end`, { method: 'POST' })).ok);
await page.waitForSelector('#ended');
const outcome = await page.innerText('#outcome');
assert.equal(outcome, "The PBX's administrator has ended the remote access.");
await sees("The PBX's administrator");
say({ step: 'ended', outcome, ms: Date.now() - began });
await snap('terminal-ended');
await page.goto(`${origin}/.ara/terminal`);
assert.equal(page.url(), `${origin}/.ara/`);
assert.deepEqual(foreign, []);
assert.deepEqual(complaints, []);
// On the way there the control centre finds nobody signed in, and the gateway may refuse.
assert.deepEqual(logged.filter((line) => line.startsWith(`${origin}/`)), []);
await browser.close();
say({ step: 'end' });
