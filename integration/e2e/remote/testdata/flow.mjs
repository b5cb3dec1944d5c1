// Remote access as a technician and the administrator of a PBX see it, in each language:
// the pages of the control centre, of the PBX in its local network, and of the PBX through
// the gateway. The world is described in the environment variable WORLD; prints one JSON
// line for each step.
import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { open, say, world } from './visit.mjs';

const require = createRequire(`${world.ui}/package.json`);
const axe = await readFile(require.resolve('axe-core/axe.min.js'), 'utf8');
const text = async (path) => JSON.parse(await readFile(path, 'utf8'));
const { texts } = await import(`${world.ui}/scripts/texts.mjs`);
const { browser } = await open();
const complaints = [];

/** Opens a window with cookies of its own. */
async function window_(url, locale) {
  const context = await browser.newContext({ viewport: { width: 1280, height: 900 }, locale, timezoneId: 'Europe/Berlin', acceptDownloads: true });
  context.setDefaultTimeout(60_000);
  const page = await context.newPage();
  page.on('pageerror', (error) => complaints.push(`${url}: ${error.message}`));
  await page.goto(url);
  return page;
}

const snap = (page, name) =>
  world.shots ? page.screenshot({ path: `${world.shots}/flow-${name}.png`, fullPage: true, animations: 'disabled' }) : Promise.resolve();

async function accessible(page, where) {
  await page.evaluate(axe);
  const found = await page.evaluate(async () =>
    (await globalThis.axe.run(document, { resultTypes: ['violations'] })).violations.map((v) => `${v.id}: ${v.nodes.map((n) => n.html).join(' ')}`),
  );
  complaints.push(...found.map((what) => `axe on ${where}: ${what}`));
}

async function signIn(page, email, password) {
  await page.waitForURL(/sign-in/);
  await page.fill('input[type=email]', email);
  await page.fill('input[type=password]', password);
  await page.click('button[type=submit]');
  await page.waitForURL((url) => !url.pathname.startsWith('/sign-in'));
}

const isSession = (url) => url.hostname.endsWith(`.${world.domain}`);
const card = (page) => page.locator('[data-state]').filter({ has: page.getByRole('timer') }).first();

let last = '';
for (const language of world.languages) {
  const t = await texts(language);
  const at = await text(`${world.lang}/${language}.json`);
  const r = t.remote;

  // The technician asks on the system's page.
  const ccc = await window_(`${world.ccc}/`, language);
  await signIn(ccc, world.email, world.password);
  await ccc.evaluate(
    (body) => fetch('/api/v1/session/language', { method: 'PUT', headers: { 'Content-Type': 'application/json' }, body }),
    JSON.stringify({ language }),
  );
  await ccc.goto(`${world.ccc}/systems/${world.system}`);
  await ccc.getByRole('button', { name: r.ask.button }).click();
  const dialog = ccc.getByRole('dialog');
  await dialog.getByRole('button', { name: r.ask.submit }).click();
  await dialog.getByText(r.ask.reasonMissing).waitFor();
  await dialog.getByLabel(r.ask.reason).fill('Kein Freizeichen');
  await accessible(ccc, `ask ${language}`);
  await snap(ccc, `ask-${language}`);
  await dialog.getByRole('button', { name: r.ask.submit }).click();
  await card(ccc).getByText(t.remoteState.pending).waitFor();
  await ccc.getByText(r.next.pending).waitFor();
  await dialog.waitFor({ state: 'detached' });
  await accessible(ccc, `pending ${language}`);
  await snap(ccc, `pending-${language}`);
  say({ language, step: 'asked' });

  // The PBX's administrator sees who asks, and allows it.
  const local = await window_(`${world.pbx.url}/login`, language);
  await local.fill('input[name=name]', 'admin');
  await local.fill('input[name=password]', world.pbx.password);
  await local.locator('form button[type=submit], form.card button, main form button').last().click();
  await local.goto(`${world.pbx.url}/remote`);
  await local.getByText('Kein Freizeichen').first().waitFor();
  await snap(local, `pbx-asks-${language}`);
  await local.getByRole('button', { name: at['remote.allow'], exact: true }).click();
  await local.getByText(at['remote.allowed']).waitFor();

  // The technician sees it live, and gets in with one click; a gateway that has just
  // started refuses the first grants, and takes one of a later click.
  await card(ccc).getByText(t.remoteState.active).waitFor();
  await ccc.getByText(r.next.active).waitFor();
  await accessible(ccc, `active ${language}`);
  await snap(ccc, `active-${language}`);
  await ccc.getByRole('button', { name: r.open }).click();
  await ccc.waitForURL(isSession);
  let clicks = 1;
  for (; new URL(ccc.url()).pathname === '/.ara/redeem' && clicks < 60; clicks++) {
    await ccc.goBack();
    const again = ccc.getByRole('button', { name: r.open });
    await again.waitFor();
    if (clicks === 1) {
      await ccc.getByRole('heading', { name: r.enter.title }).waitFor();
      await accessible(ccc, `enter ${language}`);
      await snap(ccc, `enter-${language}`);
    }
    await again.click();
    await ccc.waitForURL(isSession);
  }
  const origin = new URL(ccc.url()).origin;
  assert.equal(ccc.url(), `${origin}/login`);
  await ccc.locator('input[name=password]').waitFor();
  await snap(ccc, `pbx-${language}`);
  say({ language, step: 'let in', clicks });

  // In another window: the page that the gateway sends back to, without its query, and of
  // somebody else.
  const second = await ccc.context().newPage();
  second.on('pageerror', (error) => complaints.push(error.message));
  await second.goto(`${world.ccc}/privacy`);
  const session = await second.evaluate(async () => (await (await fetch('/api/v1/remote?state=active')).json()).items[0]);
  await second.goto(`${world.ccc}/remote/${session.id}`);
  await second.getByRole('heading', { name: r.enter.title }).waitFor();
  await second.getByText('Kein Freizeichen').waitFor();
  await accessible(second, `enter ${language}`);
  await snap(second, `enter-${language}`);

  if (language === 'en') {
    await formAction(second);
    const other = await window_(`${world.ccc}/remote/${session.id}?label=${'a'.repeat(26)}&browser=${'A'.repeat(42)}E`, language);
    // Signed out meanwhile: sign in, and back to the same page.
    await signIn(other, world.colleague, world.otherPassword);
    await other.waitForURL((url) => url.pathname === `/remote/${session.id}` && url.searchParams.get('label') === 'a'.repeat(26));
    await other.getByRole('heading', { name: r.notOwn.title }).waitFor();
    assert.equal(await other.getByRole('button', { name: r.open }).count(), 0);
    await accessible(other, 'not own');
    await snap(other, 'not-own');
    await other.goto(`${world.ccc}/sign-in?next=${encodeURIComponent('//evil.example/')}`);
    await signIn(other, world.colleague, world.otherPassword);
    assert.equal(new URL(other.url()).origin, world.ccc);
    await other.context().close();
    say({ step: 'not own' });
  }

  // The PBX's administrator ends it: the page through the gateway is gone, and the
  // technician's page says so by itself.
  await second.goto(`${world.ccc}/systems/${world.system}`);
  await card(second).getByText(t.remoteState.active).waitFor();
  await local.goto(`${world.pbx.url}/remote`);
  const before = Date.now();
  await local.getByRole('button', { name: at['remote.end'], exact: true }).click();
  await second.getByText(t.remoteCause.admin).first().waitFor();
  const seen = Date.now() - before;
  const answer = await ccc.goto(`${origin}/login`);
  assert.ok(answer.status() >= 400, `${answer.status()}`);
  assert.equal(await ccc.locator('input[name=password]').count(), 0);
  await snap(ccc, `over-at-gateway-${language}`);
  await accessible(second, `ended ${language}`);
  await snap(second, `ended-${language}`);
  await second.goto(`${world.ccc}/remote/${session.id}`);
  await second.getByRole('heading', { name: r.over.title }).waitFor();
  await snap(second, `over-${language}`);
  say({ language, step: 'ended', seen });

  // Everybody's accesses, with what came and went, and as a file.
  await second.goto(`${world.ccc}/remote`);
  await second.getByText('Kein Freizeichen').first().waitFor();
  await accessible(second, `list ${language}`);
  await snap(second, `list-${language}`);
  const [file] = await Promise.all([second.waitForEvent('download'), second.getByRole('button', { name: r.list.export }).click()]);
  const lines = (await readFile(await file.path(), 'utf8')).trim().split('\r\n');
  const line = lines.find((l) => l.startsWith(session.id));
  assert.ok(line?.includes(',ended,admin,request,'), lines.join('\n'));
  assert.match(line, /,[1-9]\d*,[1-9]\d*$/);
  await second.goto(`${world.ccc}/statistics`);
  await second.getByRole('heading', { name: t.statistics.title }).waitFor();
  await accessible(second, `statistics ${language}`);
  last = session.id;
  await ccc.context().close();
  await local.context().close();
}
assert.ok(last);

/** Forms may go to sessions of the gateway, which the way in has shown, and nowhere else. */
async function formAction(page) {
  for (const to of ['https://evil.example/', `${world.ara}/.ara/redeem`, `https://a.${world.domain}:1/`, `http://a.${world.domain}/`]) {
    const blocked = await page.evaluate(
      (action) =>
        new Promise((resolve) => {
          document.addEventListener('securitypolicyviolation', (e) => resolve(e.effectiveDirective), { once: true });
          const form = document.createElement('form');
          form.method = 'post';
          form.action = action;
          document.body.append(form);
          form.submit();
        }),
      to,
    );
    assert.equal(blocked, 'form-action', to);
    assert.equal(new URL(page.url()).origin, world.ccc);
  }
  say({ step: 'form-action' });
}

await browser.close();
assert.deepEqual(complaints, []);
say({ step: 'end' });
