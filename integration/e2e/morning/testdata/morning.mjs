// What a reseller does in a morning, in a real browser. The world is described in the
// environment variable WORLD; prints one JSON line for each step.
import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { createRequire } from 'node:module';

const world = JSON.parse(process.env.WORLD);
const require = createRequire(`${world.ui}/package.json`);
const { chromium } = require('playwright-core');
const axe = await readFile(require.resolve('axe-core/axe.min.js'), 'utf8');
const { texts } = await import(`${world.ui}/scripts/texts.mjs`);
const say = (step) => console.log(JSON.stringify({ step }));
const t = await texts('de');

const browser = await chromium.launch({
  executablePath: world.chromium,
  args: [
    '--headless', '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run',
    '--disable-background-networking', '--disable-component-update', '--disable-sync',
  ],
});
const complaints = [];

async function open() {
  const context = await browser.newContext({ viewport: { width: 1360, height: 900 }, locale: 'de-DE', timezoneId: 'Europe/Berlin' });
  context.setDefaultTimeout(60_000);
  const page = await context.newPage();
  page.on('pageerror', (error) => complaints.push(error.message));
  page.on('request', (request) => {
    const url = new URL(request.url());
    if (!['data:', 'blob:'].includes(url.protocol) && url.host !== new URL(world.ccc).host) complaints.push(`asks ${url}`);
  });
  await page.goto(world.ccc);
  return page;
}

let pictures = 0;
async function snap(page, name) {
  await page.evaluate(axe);
  const found = await page.evaluate(async () =>
    (await globalThis.axe.run(document, { resultTypes: ['violations'] })).violations.map((v) => `${v.id}: ${v.nodes.map((n) => n.html).join(' ')}`),
  );
  assert.deepEqual(found, [], `axe on ${name}`);
  pictures++;
  if (world.shots) {
    await page.screenshot({ path: `${world.shots}/morning-${String(pictures).padStart(2, '0')}-${name}.png`, animations: 'disabled', fullPage: true });
  }
}

const button = (scope, name) => scope.getByRole('button', { name, exact: true });
const signedIn = (page) => page.waitForURL((url) => !url.pathname.startsWith('/sign-in'));
const link = (page, name) => page.getByRole('link', { name, exact: true });

// The evening before: she signs in with the password and adds a passkey.
const page = await open();
await page.waitForURL(/sign-in/);
await page.fill('input[type=email]', 'nora@example.test');
await page.fill('input[type=password]', world.password);
await page.keyboard.press('Enter');
await signedIn(page);
const cdp = await page.context().newCDPSession(page);
await cdp.send('WebAuthn.enable');
await cdp.send('WebAuthn.addVirtualAuthenticator', {
  options: { protocol: 'ctap2', transport: 'internal', hasResidentKey: true, hasUserVerification: true, isUserVerified: true, automaticPresenceSimulation: true },
});
await page.goto(`${world.ccc}/account`);
await button(page, t.security.passkeys.add).click();
await page.getByLabel(t.security.passkeys.name).fill('Notebook');
await button(page, t.common.save).click();
// The first second factor brings recovery codes with it.
await page.getByTestId('recovery-codes').locator('li').first().waitFor();
await button(page, t.security.codes.kept).click();
await page.goto(`${world.ccc}/account`);
await page.getByText('Notebook', { exact: true }).waitFor();
await button(page, t.account.menu.replace('{{name}}', 'nora')).click();
await page.getByRole('menuitem', { name: t.account.signOut }).click();
await page.waitForURL(/sign-in/);

// The morning begins with the passkey.
await snap(page, 'sign-in');
await button(page, t.security.passkeySignIn).click();
await signedIn(page);
say('signed in with a passkey');

// She works for a customer who has let her in.
await page.getByRole('button', { name: /Nordlicht/ }).first().click();
await page.getByRole('link', { name: /Praxisverbund Nord/ }).click();
await page.getByText(t.organisation.band.in.replace('{{name}}', 'Praxisverbund Nord GbR')).waitFor();
assert.match(page.url(), /tenant=/);
const row = (name) => page.getByRole('row').filter({ hasText: name });
await row('Praxis Hamburg').waitFor();
await snap(page, 'fleet');

// Three PBXs are not there, and each says why.
const r = t.history.reason;
await row('Praxis Lübeck').filter({ hasText: r.lost }).waitFor();
await row('Praxis Kiel').filter({ hasText: r.shutdown }).waitFor();
await page.getByRole('row').filter({ hasText: 'Praxis Bremen' }).click();
await page.getByRole('heading', { name: 'Praxis Bremen' }).waitFor();
await page.getByText(t.dissolved.revoked).first().waitFor();
await snap(page, 'blocked');
await page.goBack();
await row('Praxis Lübeck').click();
await page.getByRole('heading', { name: 'Praxis Lübeck' }).waitFor();
await page.getByText(t.history.hint.lost).first().waitFor();
await snap(page, 'offline');
say('three are offline, and why');

// Twenty more from a list, after a look at what would become of each line.
await page.goBack();
await row('Praxis Hamburg').waitFor();
await page.goto(`${world.ccc}/onboarding?${new URLSearchParams({ tenant: world.customer })}`);
const c = t.onboarding.column;
const lines = Array.from({ length: 20 }, (_, i) => `0000051${String(100 + i)};Filiale ${i + 1};;Filialen;Einführung 2027;neu`);
await page.getByLabel(t.onboarding.paste).fill(
  [[c.serial, c.name, c.note, c.site, c.groups, c.tags].join(';'), ...lines].join('\r\n'),
);
await button(page, t.onboarding.check).click();
await page.getByText(t.onboarding.checked).waitFor();
await page.getByRole('switch').click();
await page.getByText(t.onboarding.newSites.replace('{{names}}', 'Filialen')).waitFor();
await snap(page, 'list-checked');
await button(page, t.onboarding.add_other.replace('{{shown}}', '20')).click();
await page.getByText(t.onboarding.done, { exact: true }).waitFor();
await snap(page, 'list-added');
const pdf = page.waitForEvent('download');
await button(page, t.onboarding.sheet.pdf).click();
const sheet = await readFile(await (await pdf).path());
assert.equal(sheet.subarray(0, 5).toString(), '%PDF-');
await link(page, t.onboarding.sheet.print).click();
await page.getByText('Filiale 20').waitFor();
await snap(page, 'token-sheet');
say('twenty added');

// Another NTP server at one site, after a dry run.
await page.goto(`${world.ccc}/rollouts/new?${new URLSearchParams({ tenant: world.customer })}`);
const m = t.rollout;
await page.getByLabel(m.name, { exact: false }).first().fill('Zeitserver Hamburg');
await page.getByLabel(m.lines.label).fill('ntp_server = ntp.praxisverbund.example');
await page.getByLabel(m.make.scope).selectOption({ label: m.scope.site });
await page.getByLabel(t.organisation.sites.site).selectOption({ label: 'Hamburg' });
await page.getByLabel(m.plan.pause_minutes).fill('0');
await snap(page, 'rollout-new');
await button(page, m.make.submit).click();
await page.getByText(m.state.ready).waitFor();
const diff = page.getByRole('row').filter({ hasText: 'ntp.praxisverbund.example' });
await diff.waitFor();
await snap(page, 'rollout-dry-run');
await button(page, m.action.start).click();
await button(page.getByRole('dialog'), m.action.start).click();
await page.getByText(m.state.done, { exact: true }).first().waitFor();
await page.getByText(m.ringDone.replace('{{done}}', '1').replace('{{count}}', '1')).first().waitFor();
await snap(page, 'rollout-done');
await page.goto(`${world.ccc}/systems/${world.systems[3]}/settings?${new URLSearchParams({ tenant: world.customer })}`);
await page.waitForFunction(() => [...document.querySelectorAll('input')].some((i) => i.value === 'ntp.praxisverbund.example'));
await snap(page, 'settings');
say('another time server');

// What is at her workbench goes to another customer.
await page.goto(`${world.ccc}/systems/${world.systems[5]}`);
await page.getByRole('heading', { name: 'Werkbank' }).waitFor();
await button(page, t.system.more).click();
await page.getByRole('menuitem', { name: t.organisation.handover.button }).click();
const dialog = page.getByRole('dialog');
await dialog.getByRole('combobox').or(dialog.getByRole('textbox')).first().click();
await page.getByRole('option', { name: /Autohaus Klein/ }).click();
await snap(page, 'hand-over');
await button(dialog, t.organisation.handover.submit).click();
await page.waitForURL(/handovers/);
await page.getByText(t.organisation.handover.state.offered, { exact: true }).waitFor();
await snap(page, 'hand-over-offered');
const other = await open();
await other.waitForURL(/sign-in/);
await other.fill('input[type=email]', 'anton@example.test');
await other.fill('input[type=password]', world.password);
await other.keyboard.press('Enter');
await signedIn(other);
await other.goto(`${world.ccc}/organisation/handovers`);
await other.getByRole('button', { name: new RegExp(t.organisation.handover.acceptSerial.replace('{{serial}}', '.*')) }).click();
await button(other, t.organisation.handover.acceptSure).click();
await other.waitForURL(/setup/);
await snap(other, 'hand-over-accepted');
say('handed over');

// And what all of it looks like in the audit log, hers and the customer's.
await page.goto(`${world.ccc}/audit`);
await page.getByRole('row').filter({ hasText: t.audit.operation.offerHandover }).first().waitFor();
await page.goto(`${world.ccc}/audit?${new URLSearchParams({ tenant: world.customer })}`);
for (const what of ['importSystems', 'createRollout', 'controlRollout']) {
  await page.getByRole('row').filter({ hasText: t.audit.operation[what] }).filter({ hasText: t.audit.right.grant }).first().waitFor();
}
await snap(page, 'audit');
await button(page, t.audit.verify.button).click();
await page.getByText(new RegExp(t.audit.verify.good.replace('{{entries}}', '\\d+').replace('{{seq}}', '\\d+'))).waitFor();
await page.getByRole('button', { name: new RegExp(t.audit.detail.open.replace('{{seq}}', '\\d+')) }).first().click();
await page.getByRole('dialog').waitFor();
await snap(page, 'audit-entry');
say('audit read');

assert.deepEqual(complaints, []);
await browser.close();
say('end');
