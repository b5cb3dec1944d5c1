// Pairs and dissolves in a real browser, in each language, as a customer and the
// administrator of a PBX do it. The world is described in the environment variable WORLD;
// prints one JSON line for each step.
import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { createRequire } from 'node:module';

const world = JSON.parse(process.env.WORLD);
const require = createRequire(`${world.ui}/package.json`);
const { chromium } = require('playwright-core');
const axe = await readFile(require.resolve('axe-core/axe.min.js'), 'utf8');
const text = async (path) => JSON.parse(await readFile(path, 'utf8'));
const { texts } = await import(`${world.ui}/scripts/texts.mjs`);
const say = (what) => console.log(JSON.stringify(what));

const browser = await chromium.launch({
  executablePath: world.chromium,
  args: [
    '--headless', '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run',
    '--disable-background-networking', '--disable-component-update', '--disable-sync',
  ],
});
const complaints = [];

/** Opens a window that notes what goes wrong and where its requests go. */
async function open(url, locale) {
  const context = await browser.newContext({ viewport: { width: 1280, height: 860 }, locale, timezoneId: 'Europe/Berlin' });
  context.setDefaultTimeout(60_000);
  const page = await context.newPage();
  page.on('pageerror', (error) => complaints.push(`${url}: ${error.message}`));
  page.on('request', (request) => {
    if (!['data:', 'blob:'].includes(new URL(request.url()).protocol) && new URL(request.url()).host !== new URL(url).host)
      complaints.push(`${url} asks ${request.url()}`);
  });
  await page.goto(url);
  return page;
}

const snap = (page, name) =>
  world.shots ? page.screenshot({ path: `${world.shots}/${name}.png`, animations: 'disabled' }) : Promise.resolve();

async function accessible(page, where) {
  await page.evaluate(axe);
  const found = await page.evaluate(async () =>
    (await globalThis.axe.run(document, { resultTypes: ['violations'] })).violations.map((v) => `${v.id}: ${v.nodes.map((n) => n.html).join(' ')}`),
  );
  assert.deepEqual(found, [], `axe on ${where}`);
}

for (const [i, language] of ['de', 'en', 'fr'].entries()) {
  const pbx = world.pbxs[i];
  const t = await texts(language);
  const at = await text(`${world.lang}/${language}.json`);

  // The customer signs in and adds the PBX.
  const ccc = await open(`${world.ccc}/`, language);
  await ccc.waitForURL(/sign-in/);
  await ccc.fill('input[type=email]', world.email);
  await ccc.fill('input[type=password]', world.password);
  await ccc.click('button[type=submit]');
  await ccc.waitForURL((url) => !url.pathname.startsWith('/sign-in'));
  await ccc.request.put(`${world.ccc}/api/v1/session/language`, { data: { language } });
  await ccc.goto(`${world.ccc}/add`);
  await ccc.getByRole('heading', { name: t.add.title }).waitFor();
  await ccc.fill('input[inputmode=numeric]', pbx.serial);
  await ccc.getByLabel(t.system.name, { exact: true }).fill(`Praxis ${language}`);
  await ccc.getByRole('button', { name: t.add.submit }).click();
  await ccc.getByTestId('token').waitFor();
  const token = await ccc.getByTestId('token').textContent();
  assert.match(token, /^[0-9A-HJKMNP-TV-Z]{4}-[0-9A-HJKMNP-TV-Z]{4}-[0-9A-HJKMNP-TV-Z]{4}$/);
  assert.ok(!ccc.url().includes(token), 'the token is in the address');
  await ccc.getByText(t.step.received.title).waitFor();
  await accessible(ccc, `setup ${language}`);
  await snap(ccc, `setup-${language}`);
  say({ language, step: 'token' });

  // The administrator of the PBX sees who asks, compares, and types.
  const local = await open(`${pbx.url}/login`, language);
  await local.fill('input[name=name]', 'admin');
  await local.fill('input[name=password]', pbx.password);
  await local.locator('form button[type=submit], form.card button, main form button').last().click();
  await local.goto(`${pbx.url}/ccc`);
  await local.getByRole('heading', { name: at['ccc.offer'].replace('%s', world.tenant) }).waitFor();
  const code = (await local.locator('.code').textContent()).trim();
  await ccc.getByText(code, { exact: true }).waitFor();
  await accessible(local, `offer ${language}`);
  await snap(local, `pbx-offer-${language}`);
  await local.fill('input[name=token]', token.toLowerCase());
  await local.fill('section.offer input[name=password]', pbx.password);
  await local.getByRole('button', { name: at['ccc.enable'] }).click();
  await local.getByText(at['ccc.paired'], { exact: true }).waitFor();
  await accessible(local, `paired ${language}`);
  await snap(local, `pbx-paired-${language}`);
  say({ language, step: 'typed' });

  // The customer sees it live.
  await ccc.getByRole('heading', { name: t.setup.done.title.replace('{{name}}', `Praxis ${language}`) }).waitFor();
  await snap(ccc, `done-${language}`);
  await ccc.getByRole('link', { name: t.setup.done.open }).or(ccc.getByRole('button', { name: t.setup.done.open })).first().click();
  await ccc.getByText(t.status.online, { exact: true }).first().waitFor();
  await accessible(ccc, `system ${language}`);
  await snap(ccc, `system-${language}`);
  say({ language, step: 'paired' });

  // Switched off at the PBX: gone on both sides, without a reload.
  await local.check('input[name=sure]');
  await local.getByRole('button', { name: at['ccc.off.submit'] }).click();
  await local.getByText(at['ccc.unpaired'], { exact: true }).waitFor();
  await ccc.getByText(t.status.left, { exact: true }).first().waitFor();
  await snap(ccc, `left-${language}`);
  await ccc.goto(`${world.ccc}/`);
  await ccc.getByText(`Praxis ${language}`).waitFor();
  await snap(ccc, `fleet-${language}`);
  say({ language, step: 'dissolved' });
  await ccc.context().close();
  await local.context().close();
}
await browser.close();
assert.deepEqual(complaints, []);
say({ step: 'end' });
