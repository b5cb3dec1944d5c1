// Signs in in every way in a real browser. The world is described in the environment
// variable WORLD; prints one JSON line for each step.
import assert from 'node:assert/strict';
import { createHmac } from 'node:crypto';
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
  args: [
    '--headless', '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run',
    '--disable-background-networking', '--disable-component-update', '--disable-sync',
  ],
});
const complaints = [];

/** Opens a window with a virtual authenticator, which notes what goes wrong and where its requests go. */
async function open(path, { locale = 'en-GB', width = 1280, height = 900, scheme = 'light' } = {}) {
  const context = await browser.newContext({ viewport: { width, height }, locale, colorScheme: scheme, timezoneId: 'Europe/Berlin' });
  context.setDefaultTimeout(30_000);
  const page = await context.newPage();
  page.on('pageerror', (error) => complaints.push(error.message));
  page.on('request', (request) => {
    const url = new URL(request.url());
    if (!['data:', 'blob:'].includes(url.protocol) && url.host !== new URL(world.ccc).host) complaints.push(`asks ${url}`);
  });
  await page.goto(world.ccc + path);
  return page;
}

/** The DevTools session and id of a new authenticator for the page. */
async function authenticator(page) {
  const cdp = await page.context().newCDPSession(page);
  await cdp.send('WebAuthn.enable');
  const { authenticatorId } = await cdp.send('WebAuthn.addVirtualAuthenticator', {
    options: { protocol: 'ctap2', transport: 'internal', hasResidentKey: true, hasUserVerification: true, isUserVerified: true, automaticPresenceSimulation: true },
  });
  return { cdp, authenticatorId };
}

const snap = (page, name) =>
  world.shots ? page.screenshot({ path: `${world.shots}/signin-${name}.png`, animations: 'disabled', fullPage: true }) : Promise.resolve();

async function accessible(page, where) {
  await page.evaluate(axe);
  const found = await page.evaluate(async () =>
    (await globalThis.axe.run(document, { resultTypes: ['violations'] })).violations.map((v) => `${v.id}: ${v.nodes.map((n) => n.html).join(' ')}`),
  );
  assert.deepEqual(found, [], `axe on ${where}`);
}

/** The code of an app (RFC 6238), so many steps from now. */
function code(secret, ahead = 0) {
  const bits = [...secret.replaceAll(' ', '')].map((c) => 'ABCDEFGHIJKLMNOPQRSTUVWXYZ234567'.indexOf(c).toString(2).padStart(5, '0')).join('');
  const key = Buffer.from(bits.match(/.{8}/g).map((b) => Number.parseInt(b, 2)));
  const counter = Buffer.alloc(8);
  counter.writeBigUInt64BE(BigInt(Math.floor(Date.now() / 30_000) + ahead));
  const mac = createHmac('sha1', key).update(counter).digest();
  return String((mac.readUInt32BE(mac.at(-1) & 15) & 0x7fffffff) % 1_000_000).padStart(6, '0');
}

async function password(page, email) {
  await page.fill('input[type=email]', email);
  await page.fill('input[type=password]', world.password);
  await page.keyboard.press('Enter');
}

const own = (url) => url.host === new URL(world.ccc).host;
const arrived = (page, path) => page.waitForURL((url) => url.pathname === path && own(url));

const t = await texts('en');
const s = t.security;
const button = (page, name) => page.getByRole('button', { name, exact: true });

// The first sign-in: nothing goes on before an app is set up.
const first = await open('/');
await first.waitForURL(/sign-in/);
await accessible(first, 'the first step');
await snap(first, 'password');
await password(first, 'anna@example.com');
await first.getByRole('heading', { name: s.enrol.title }).waitFor();
await accessible(first, 'the choice');
await snap(first, 'enrol');
await first.goto(`${world.ccc}/account`);
await first.getByRole('heading', { name: s.enrol.title }).waitFor();
assert.match(first.url(), /sign-in/, 'no page is shown before');
await button(first, s.enrol.app).click();
const secret = await first.getByTestId('secret').textContent();
await accessible(first, 'the setup of an app');
await snap(first, 'app');
await first.getByLabel(s.app.confirm).fill('000000');
await button(first, s.app.submit).click();
await first.getByText(t.problem.wrong_code).waitFor();
const setup = code(secret);
await first.getByLabel(s.app.confirm).fill(setup);
await first.keyboard.press('Enter');
const shown = first.getByTestId('recovery-codes').locator('li');
await shown.first().waitFor();
const codes = await shown.allTextContents();
assert.equal(codes.length, 10);
await accessible(first, 'the recovery codes');
await snap(first, 'recovery-codes');
await button(first, s.codes.kept).click();
await arrived(first, '/account');
say('app');

// A passkey, and a sign-in with it alone.
const { cdp, authenticatorId } = await authenticator(first);
await button(first, s.passkeys.add).click();
await first.getByLabel(s.passkeys.name).fill('Laptop');
await button(first, t.common.save).click();
await first.getByText('Laptop', { exact: true }).waitFor();
await button(first, s.tokens.add).click();
await first.getByLabel(s.tokens.name).fill('Backup');
await first.getByRole('combobox', { name: s.tokens.verbs }).or(first.getByLabel(s.tokens.verbs)).first().click();
await first.getByRole('option', { name: 'system.read', exact: true }).click();
await first.keyboard.press('Escape');
await button(first, s.tokens.make).click();
const token = await first.getByTestId('token').textContent();
const read = await fetch(`${world.ccc}/api/v1/systems`, { headers: { Authorization: `Bearer ${token}` } });
assert.equal(read.status, 200, 'the token reads');
const write = await fetch(`${world.ccc}/api/v1/groups`, { method: 'POST', body: '{"name":"x"}', headers: { Authorization: `Bearer ${token}`, 'Content-Type': 'application/json' } });
assert.equal(write.status, 403, 'and does not write');
await first.keyboard.press('Escape');
await first.getByText('Backup', { exact: true }).waitFor();
await first.getByTestId('token').waitFor({ state: 'detached' });
await first.getByRole('alert').waitFor({ state: 'detached' });
await accessible(first, 'the account');
await snap(first, 'account');
await button(first, t.account.menu.replace('{{name}}', 'Anna Example')).click();
await first.getByRole('menuitem', { name: t.account.signOut }).click();
await first.waitForURL(/sign-in/);
await button(first, s.passkeySignIn).click();
await arrived(first, '/');
const { credentials } = await cdp.send('WebAuthn.getCredentials', { authenticatorId });
assert.equal(credentials.length, 1);
assert.ok(credentials[0].isResidentCredential && credentials[0].rpId === 'localhost');
say('passkey');

// Password and app, at a phone in the dark; another code than before.
const second = await open('/', { width: 390, height: 800, scheme: 'dark' });
await password(second, 'anna@example.com');
await second.getByLabel(s.second.code).waitFor();
await accessible(second, 'the second step');
await snap(second, 'second-step-dark');
await second.goto(`${world.ccc}/add`); // where he wants to go is not forgotten
await second.getByLabel(s.second.code).fill(setup);
await button(second, s.second.submit).click();
await second.getByText(t.problem.wrong_code).waitFor(); // it was used
await second.getByLabel(s.second.code).fill(code(secret, 1));
await second.keyboard.press('Enter');
await arrived(second, '/add');
// A recovery code; an address of another site is none to go on to.
const led = await open('/sign-in?next=//evil.example/');
await password(led, 'anna@example.com');
await button(led, s.second.useRecovery).click();
await led.getByLabel(s.second.recovery).fill(codes[0].toLowerCase());
await led.keyboard.press('Enter');
await led.waitForURL((url) => own(url) && url.pathname !== '/sign-in');
say('recovery code');
await led.goto(`${world.ccc}/account`);
await led.getByText(s.factor.codesLeft_other.replace('{{count}}', '9')).waitFor();
await button(led, s.sessions.endOthers).click();
await led.getByText(s.sessions.ended).waitFor();
await second.reload();
await second.waitForURL(/sign-in/);
const again = await open('/sign-in?next=/%5Cevil.example/');
await password(again, 'anna@example.com');
await button(again, s.second.useRecovery).click();
await again.getByLabel(s.second.recovery).fill(codes[0]);
await again.keyboard.press('Enter');
await again.getByText(t.problem.wrong_code).waitFor();
await again.keyboard.press('Escape');
await button(again, s.second.cancel).click();
await again.locator('input[type=email]').waitFor();
await password(again, 'anna@example.com');
await button(again, s.second.useRecovery).click();
await again.getByLabel(s.second.recovery).fill(codes[1]);
await again.keyboard.press('Enter');
await again.waitForURL((url) => own(url) && url.pathname !== '/sign-in');
say('sessions');

// In French, with a passkey from the beginning.
const fr = (await texts('fr')).security;
const third = await open('/', { locale: 'fr-FR' });
await authenticator(third);
await third.waitForURL(/sign-in/);
await password(third, 'benoit@example.com');
await third.getByRole('heading', { name: fr.enrol.title }).waitFor();
await snap(third, 'enrol-fr');
await button(third, fr.enrol.passkey).click();
await third.getByTestId('recovery-codes').waitFor();
await button(third, fr.codes.kept).click();
await arrived(third, '/');
await third.goto(`${world.ccc}/account`);
await third.getByRole('heading', { name: fr.passkeys.title }).waitFor();
await third.getByText(fr.factor.off).waitFor();
await accessible(third, 'the account in French');
await snap(third, 'account-fr');

assert.deepEqual(complaints, []);
await browser.close();
say('end');
