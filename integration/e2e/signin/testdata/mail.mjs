// Takes up an invitation from a mail, resets a password from a mail, and signs in at an
// OpenID provider, in a real browser. The world is described in the environment variable
// WORLD; prints one JSON line for each step.
import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { createRequire } from 'node:module';

const world = JSON.parse(process.env.WORLD);
const require = createRequire(`${world.ui}/package.json`);
const { chromium } = require('playwright-core');
const axe = await readFile(require.resolve('axe-core/axe.min.js'), 'utf8');
const { texts } = await import(`${world.ui}/scripts/texts.mjs`);
const say = (step) => console.log(JSON.stringify({ step }));

const browser = await chromium.launch({
  executablePath: world.chromium,
  args: ['--headless', '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking', '--disable-component-update', '--disable-sync'],
});
const complaints = [];

async function open(path, { locale = 'en-GB', width = 1280, scheme = 'light' } = {}) {
  const context = await browser.newContext({ viewport: { width, height: 800 }, locale, colorScheme: scheme, timezoneId: 'Europe/Berlin' });
  context.setDefaultTimeout(60_000);
  const page = await context.newPage();
  page.on('pageerror', (error) => complaints.push(error.message));
  page.on('request', (request) => {
    const url = new URL(request.url());
    const known = [new URL(world.ccc).host, new URL(world.issuer).host];
    if (!['data:', 'blob:'].includes(url.protocol) && !known.includes(url.host)) complaints.push(`asks ${url}`);
  });
  await page.goto(path.startsWith('http') ? path : world.ccc + path);
  return page;
}

async function accessible(page, where) {
  await page.evaluate(axe);
  const found = await page.evaluate(async () =>
    (await globalThis.axe.run(document, { resultTypes: ['violations'] })).violations.map((v) => `${v.id}: ${v.nodes.map((n) => n.html).join(' ')}`),
  );
  assert.deepEqual(found, [], `axe on ${where}`);
  assert.equal(await page.evaluate(() => document.documentElement.scrollWidth <= innerWidth), true, `${where} is not wider than the screen`);
}
const snap = (page, name) =>
  world.shots ? page.screenshot({ path: `${world.shots}/mail-${name}.png`, animations: 'disabled', fullPage: true }) : Promise.resolve();

/** The link in the n-th mail to an address. */
async function linkTo(to, n) {
  const answer = await fetch(`${world.inbox}/?to=${encodeURIComponent(to)}${'&n'.repeat(n)}`);
  const [link] = (await answer.text()).match(/http:\S+#\S+/);
  return link;
}
const button = (page, name) => page.getByRole('button', { name, exact: true });
const arrived = (page, path) => page.waitForURL((url) => url.pathname === path && url.host === new URL(world.ccc).host);

// An owner invites somebody, by the API: the page of people is tested elsewhere.
const en = await texts('en');
const owner = await open('/');
await owner.fill('input[type=email]', 'anna@example.com');
await owner.fill('input[type=password]', world.password);
await owner.keyboard.press('Enter');
await arrived(owner, '/');
const made = await owner.evaluate(async () => {
  const body = JSON.stringify({ email: 'neu@example.com', name: 'Nele Neu', language: 'de', roles: [{ role: 'monitoring' }] });
  return (await fetch('/api/v1/invitations', { method: 'POST', body, headers: { 'Content-Type': 'application/json' } })).status;
});
assert.equal(made, 201);
const invitation = await linkTo('neu@example.com', 1);
assert.ok(invitation.startsWith(`${world.ccc}/invitation#`), invitation);
const guest = await open(invitation, { locale: 'de-DE', width: 360, scheme: 'dark' });
const de = await texts('de');
await guest.getByRole('heading', { name: de.signin.invitation.title }).waitFor();
await guest.getByText('neu@example.com').waitFor();
await accessible(guest, 'the invitation');
await snap(guest, 'invitation');
await guest.getByLabel(de.signIn.password, { exact: true }).fill('ein langes Passwort');
await guest.getByLabel(de.signin.again, { exact: true }).fill('ein langes Passwort');
await button(guest, de.signin.invitation.submit).click();
await arrived(guest, '/');
say('invitation');
const late = await open(invitation);
await late.getByText(en.signin.invitation.void).waitFor();
await accessible(late, 'a used invitation');

// The same person has forgotten the password.
const lost = await open('/sign-in', { locale: 'de-DE' });
await lost.getByRole('link', { name: de.signin.forgot }).click();
await lost.getByLabel(de.signIn.email).fill('neu@example.com');
await accessible(lost, 'the request for a new password');
await button(lost, de.signin.reset.send).click();
await lost.getByText(de.signin.reset.sent).waitFor();
const reset = await linkTo('neu@example.com', 2);
const fresh = await open(reset, { locale: 'de-DE' });
await fresh.getByText(de.signin.reset.choose).waitFor();
await accessible(fresh, 'the new password');
await snap(fresh, 'reset');
await fresh.getByLabel(de.signIn.password, { exact: true }).fill('ein anderes Passwort');
await fresh.getByLabel(de.signin.again, { exact: true }).fill('ein anderes Passwort');
await button(fresh, de.signin.reset.submit).click();
await fresh.getByText(de.signin.reset.done).waitFor();
await button(fresh, de.signin.toSignIn).click();
await fresh.fill('input[type=email]', 'neu@example.com');
await fresh.fill('input[type=password]', 'ein anderes Passwort');
await fresh.keyboard.press('Enter');
await arrived(fresh, '/');
say('reset');

// Somebody of the same tenant signs in at its provider for the first time.
const stranger = await open('/account');
await stranger.waitForURL(/sign-in/);
await accessible(stranger, 'the sign-in with a provider');
await snap(stranger, 'provider');
await button(stranger, en.signin.provider.replace('{{name}}', 'Zitadel')).click();
await stranger.waitForURL(`${world.issuer}/**`);
await stranger.fill('input[name=username]', 'test-user@localhost');
await stranger.fill('input[name=password]', 'verysecure');
await stranger.keyboard.press('Enter');
await arrived(stranger, '/account');
assert.ok(!stranger.url().includes('code='), 'nothing of the answer stays in the address');
const me = await stranger.evaluate(async () => (await fetch('/api/v1/session')).json());
assert.equal(me.user.email, 'test-user@zitadel.ch');
assert.deepEqual(me.user.roles, ['monitoring']);
const replayed = await open('/oidc?code=x&state=y');
await replayed.getByText(en.problem.oidc_refused).waitFor();
await accessible(replayed, 'a sign-in that is not accepted');
say('provider');

assert.deepEqual(complaints, []);
await browser.close();
say('end');
