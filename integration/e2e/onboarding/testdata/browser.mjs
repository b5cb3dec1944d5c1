// Adds many PBXs in a real browser. The world is described in the environment variable
// WORLD; prints one JSON line for each step.
import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { createRequire } from 'node:module';

const world = JSON.parse(process.env.WORLD);
const require = createRequire(`${world.ui}/package.json`);
const { chromium } = require('playwright-core');
const axe = await readFile(require.resolve('axe-core/axe.min.js'), 'utf8');
const { texts } = await import(`${world.ui}/scripts/texts.mjs`);
const say = (step, more = {}) => console.log(JSON.stringify({ step, ...more }));

const browser = await chromium.launch({
  executablePath: world.chromium,
  args: [
    '--headless', '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run',
    '--disable-background-networking', '--disable-component-update', '--disable-sync',
  ],
});
const complaints = [];
const shot = (page, name) =>
  world.shots ? page.screenshot({ path: `${world.shots}/onboarding-${name}.png`, animations: 'disabled', fullPage: true }) : Promise.resolve();

async function accessible(page, where) {
  await page.evaluate(axe);
  const found = await page.evaluate(async () =>
    (await globalThis.axe.run(document, { resultTypes: ['violations'] })).violations.map((v) => `${v.id}: ${v.nodes.map((n) => n.html).join(' ')}`),
  );
  assert.deepEqual(found, [], `axe on ${where}`);
}

/** Signs in with the language of the person. */
async function open(email, { width = 1280, height = 900, scheme = 'light', locale = 'en-GB' } = {}) {
  const context = await browser.newContext({ viewport: { width, height }, locale, colorScheme: scheme, timezoneId: 'Europe/Berlin', acceptDownloads: true });
  context.setDefaultTimeout(30_000);
  const page = await context.newPage();
  page.on('pageerror', (error) => complaints.push(error.message));
  page.on('request', (request) => {
    const url = new URL(request.url());
    if (!['data:', 'blob:'].includes(url.protocol) && url.host !== new URL(world.ccc).host) complaints.push(`asks ${url}`);
  });
  await page.goto(`${world.ccc}/onboarding`);
  await page.fill('input[type=email]', email);
  await page.fill('input[type=password]', world.password);
  await page.keyboard.press('Enter');
  await page.waitForURL((url) => url.pathname === '/onboarding');
  return page;
}

const serial = (n) => String(n).padStart(10, '0');
const lines = (first, n) => Array.from({ length: n }, (_, i) => `${serial(first + i)};PBX ${first + i};Rack ${i};Site ${i % 3}`);
const csv = (all) => Buffer.from(`\ufeffSeriennummer;Name;Notiz;Standort\r\n${all.join('\r\n')}\r\n`);
const file = (page, all) => page.setInputFiles('input[type=file]', { name: 'list.csv', mimeType: 'text/csv', buffer: csv(all) });

const t = (await texts('en')).onboarding;
const page = await open('anna@example.com');
await page.getByRole('heading', { name: t.title }).waitFor();
await accessible(page, 'the empty page');
await shot(page, 'empty');
say('signed in');

// 20 lines, and three that are wrong.
const twenty = [...lines(1, 20), '12;Too short', `${serial(1)};Twice`, ';No serial'];
await file(page, twenty);
await page.getByText(t.checked).waitFor();
const rows = () => page.locator('tbody tr').count();
assert.equal(await rows(), 23);
// The sites are not there: all is refused, until they may be made.
assert.equal(await page.getByRole('button', { name: /^Add 0/ }).isDisabled(), true);
await page.getByLabel(t.create).check({ force: true });
await page.getByRole('button', { name: 'Add 20 PBXs' }).waitFor();
await shot(page, 'checked');
await accessible(page, 'the checked list');
await page.getByText(`${t.show.faulty} (3)`).click();
assert.equal(await rows(), 3);
const text = await page.locator('tbody').innerText();
assert.ok(text.includes(t.serialPattern) && text.includes(t.duplicate.replace('{{line}}', '2')), text);
await shot(page, 'faults');
const [faulty] = await Promise.all([page.waitForEvent('download'), page.getByRole('button', { name: t.saveFaulty }).click()]);
const saved = (await readFile(await faulty.path(), 'utf8')).trim().split('\n');
assert.equal(saved.length, 4);
assert.ok(saved[0].includes('Seriennummer') && saved[1].startsWith('12;'));
await page.getByRole('button', { name: 'Add 20 PBXs' }).click();
await page.getByText(t.done, { exact: true }).waitFor();
await shot(page, 'done');
say('20 lines added');

// The PDF, and the page to print.
const [pdf] = await Promise.all([page.waitForEvent('download'), page.getByRole('button', { name: t.sheet.pdf }).click()]);
assert.equal((await readFile(await pdf.path())).subarray(0, 5).toString(), '%PDF-');
await page.getByRole('link', { name: t.sheet.print }).click();
await page.getByRole('heading', { name: t.sheet.title }).waitFor();
await page.locator('main li svg').nth(19).waitFor();
await page.getByText(/There has been a sheet for 20/).waitFor();
await accessible(page, 'the sheet');
await shot(page, 'sheet');
await page.emulateMedia({ media: 'print' });
assert.equal(await page.locator('header').first().isVisible(), false);
if (world.shots) await page.pdf({ path: `${world.shots}/onboarding-print.pdf`, preferCSSPageSize: true, printBackground: true });
await page.emulateMedia({ media: null });
say('tokens on paper');

// 500 lines, sent again afterwards.
await page.goto(`${world.ccc}/onboarding`);
const many = lines(1000, 500);
await file(page, many);
await page.getByRole('button', { name: 'Add 500 PBXs' }).waitFor();
const began = Date.now();
await page.getByRole('button', { name: 'Add 500 PBXs' }).click();
await page.getByRole('progressbar').waitFor();
await shot(page, 'progress');
await page.getByText(t.done, { exact: true }).waitFor({ timeout: 60_000 });
say('500 lines added', { seconds: (Date.now() - began) / 1000 });
assert.equal(await rows(), 500);
await page.getByRole('button', { name: t.other }).click();
await file(page, many);
await page.getByText(`${t.show.exists} (500)`).waitFor();
assert.equal(await page.getByRole('button', { name: /^Add 0/ }).isDisabled(), true);
say('the same again changes nothing');

// The list of systems: as one types, by site, and a filter that is kept.
await page.goto(`${world.ccc}/`);
await page.getByText('520').first().waitFor();
await page.getByRole('searchbox').fill('site 1 pbx 10');
await page.getByText(/PBXs? found|systems? found/).first().waitFor();
await page.getByRole('button', { name: t.saved.button }).click();
await page.getByRole('menuitem', { name: t.saved.save }).click();
await page.getByLabel(t.saved.name, { exact: true }).fill('At site 1');
await page.getByLabel(t.saved.first).check();
await accessible(page, 'to keep a filter');
await shot(page, 'keep');
await page.getByRole('button', { name: t.saved.keep, exact: true }).click();
await page.getByText(t.saved.done).waitFor();
await page.goto(`${world.ccc}/`);
await page.waitForURL((url) => url.searchParams.get('q') === 'site 1 pbx 10');
await page.getByRole('button', { name: t.saved.button }).click();
await page.getByRole('menuitem', { name: 'At site 1' }).waitFor();
await shot(page, 'filters');
say('a filter is kept');

// Narrow, dark, in the other languages.
for (const [email, language, scheme] of [['dora@example.com', 'de', 'dark'], ['benoit@example.com', 'fr', 'light']]) {
  const words = (await texts(language)).onboarding;
  const small = await open(email, { width: 360, height: 800, scheme, locale: language });
  await small.getByRole('heading', { name: words.title }).waitFor();
  await file(small, [...lines(1, 2), 'x;y', `${serial(9001)};Neu`]);
  await small.getByText(words.checked).waitFor();
  assert.ok(await small.evaluate(() => document.documentElement.scrollWidth <= 360), `${language}: too wide`);
  await accessible(small, `360 px, ${scheme}, ${language}`);
  await shot(small, `360-${language}-${scheme}`);
}
assert.deepEqual(complaints, []);
await browser.close();
say('end');
