// What the audit log, webhooks, the account and lists of PBXs have to do; see checks.mjs.
import assert from 'node:assert/strict';
import { texts as textsOf } from '../scripts/texts.mjs';

/** @typedef {import('./session.mjs').Session} Session */

const texts = await textsOf('en');
const german = await textsOf('de');
const emma = 'emma@example.org';

/** @type {Record<string, (s: Session) => Promise<void>>} */
export const areaChecks = {
  async 'the audit log: by filter, page by page, and its chain'(s) {
    const t = texts.audit;
    const page = await s.signIn(emma, '/audit');
    const rows = page.locator('tbody tr');
    await rows.first().waitFor();
    assert.equal(await rows.count(), 50);
    await page.getByRole('button', { name: t.more }).click();
    await page.waitForFunction(() => document.querySelectorAll('tbody tr').length === 100);
    await page.getByRole('button', { name: t.verify.button }).click();
    await page.getByText(/120/).first().waitFor();
    await page.locator('output[data-good=true]').waitFor();
    await rows.first().getByRole('button').click();
    const dialog = page.getByRole('dialog');
    await dialog.getByText(s.mock.audit.log.at(-1)?.entry.hash ?? 'none').waitFor();
    await dialog.getByRole('button', { name: /Show|until/ }).click();
    await dialog.getByText('192.0.2.17').waitFor();
    await s.accessible(page, 'audit entry');
    await page.keyboard.press('Escape');
    await page.getByRole('combobox', { name: t.filter.outcome }).click();
    await page.getByRole('option', { name: t.outcome.failed }).click();
    await page.waitForURL(/outcome=failed/);
    await page.waitForFunction(() => document.querySelectorAll('tbody tr').length < 20);
    // A chain that somebody has changed is not good.
    const entry = s.mock.audit.log[5];
    assert.ok(entry);
    entry.text = entry.text.replace('"done"', '"failed"');
    await page.getByRole('button', { name: t.verify.button }).click();
    await page.locator('output[data-good=false]').waitFor();
    await s.snap('audit');
  },

  async 'webhooks: made, tried, their log'(s) {
    s.expected = [/status of 422/];
    const t = texts.automation;
    const page = await s.signIn(emma, '/automation');
    await page.getByText('https://hooks.example.org/comtrexx').waitFor();
    await page.getByRole('button', { name: t.add }).click();
    const dialog = page.getByRole('dialog');
    await dialog.getByRole('textbox').first().fill('https://new.example.org/hook');
    await dialog.getByRole('combobox', { name: t.events }).click();
    await dialog.getByRole('option').first().click();
    await page.keyboard.press('Escape');
    await s.accessible(page, 'new webhook');
    await dialog.locator('button[type=submit]').click();
    await dialog.getByText('whsec_').waitFor();
    await page.keyboard.press('Escape');
    await dialog.waitFor({ state: 'detached' });
    const card = page.getByRole('article', { name: 'https://hooks.example.net' });
    await card.getByRole('button', { name: t.showLog }).click();
    await card.getByRole('button', { name: t.details }).first().click();
    await dialog.getByText('s-00001').waitFor();
    await s.accessible(page, 'delivery');
    await page.keyboard.press('Escape');
    await dialog.waitFor({ state: 'detached' });
    await s.show(page, { width: 360, height: 740 });
    await s.fits(page);
    await s.snap('automation-phone', { fullPage: true });
  },

  async 'API tokens are for a tenant, with what one may there'(s) {
    const t = german.security.tokens;
    const page = await s.signIn('anna@example.org', '/account');
    await page.getByRole('button', { name: t.add }).click();
    const dialog = page.getByRole('dialog');
    const verbs = dialog.getByRole('combobox', { name: t.verbs });
    const offered = async () => {
      await verbs.click();
      const all = await page.getByRole('option').allTextContents();
      await page.keyboard.press('Escape');
      return all;
    };
    const own = await offered();
    assert.ok(own.includes('audit.read') && own.includes('system.read'), own.join());
    assert.ok(!own.includes('users.manage') && !own.includes('grants.manage'), own.join());
    await dialog.getByRole('combobox', { name: t.tenant }).click();
    await page.getByRole('option', { name: 'Kanzlei Voß & Partner' }).click();
    const there = await offered();
    assert.ok(!there.includes('audit.read') && there.includes('system.read'), there.join());
    await dialog.getByLabel(t.name).fill('Anzeige');
    await verbs.click();
    await page.getByRole('option', { name: 'system.read' }).click();
    await page.keyboard.press('Escape');
    await s.accessible(page, 'new token');
    await dialog.getByRole('button', { name: t.make, exact: true }).click();
    await dialog.getByTestId('token').waitFor();
    assert.equal(s.mock.account.tokens[0]?.tenant_id, 't-7');
    // The page in another tenant offers the same.
    await page.goto(`${s.mock.origin}/account?tenant=t-9`);
    await page.getByText('Für Kanzlei Voß & Partner').waitFor();
    await page.getByRole('button', { name: t.add }).click();
    assert.deepEqual(await offered(), own);
  },

  async 'a list of PBXs: looked at, added, printed'(s) {
    const t = texts.onboarding;
    const [known] = s.mock.systems.values();
    assert.ok(known);
    const page = await s.signIn(emma, '/onboarding');
    await page
      .getByLabel(t.paste)
      .fill(`serial;name\n0000000501;Praxis Nord\n${known.serial};There\n12;Wrong\n0000000502;Praxis Süd\n`);
    await page.getByRole('button', { name: t.check, exact: true }).click();
    await page.getByText(t.checked).waitFor();
    await s.accessible(page, 'list, checked');
    await s.snap('onboarding-checked');
    assert.ok(![...s.mock.systems.values()].some((x) => x.serial === '0000000501'));
    await page.getByRole('button', { name: /^Add 2/ }).click();
    await page.getByText(t.done).waitFor();
    assert.ok([...s.mock.systems.values()].some((x) => x.serial === '0000000501'));
    await page.getByRole('link', { name: t.sheet.print }).click();
    await page.getByText('Praxis Süd').waitFor();
    await s.accessible(page, 'sheet');
    await s.snap('sheet', { fullPage: true });
  },

  async 'roles that somebody else has changed meanwhile'(s) {
    s.expected = [/status of 412/, /status of 503/];
    const t = texts.organisation;
    const page = await s.signIn(emma, '/organisation/people');
    const person = s.mock.organisation.people[3];
    assert.ok(person);
    const open = page.getByRole('button', { name: t.people.rolesOf.replace('{{name}}', person.name) }).first();
    await open.click();
    const dialog = page.getByRole('dialog');
    await dialog.getByRole('button', { name: t.roles.add }).click();
    Object.assign(person, { roles: [{ role: 'auditor' }], roles_version: 'theirs' });
    s.mock.organisation.knobs.unread = 1;
    await dialog.getByRole('button', { name: texts.common.save }).click();
    await dialog.getByRole('alert').getByText(texts.problem.unavailable).waitFor();
    await dialog.getByRole('button', { name: texts.failure.retry }).click();
    await dialog.getByRole('alert').getByText(texts.role.auditor).waitFor();
    assert.deepEqual(person.roles, [{ role: 'auditor' }]);
    await s.accessible(page, 'roles, conflict');
    await s.snap('organisation-roles-conflict');
    await dialog.getByRole('button', { name: texts.rollout.conflict.take }).click();
    await dialog.getByRole('button', { name: texts.common.save }).click();
    await dialog.waitFor({ state: 'detached' });
    assert.deepEqual(person.roles, [{ role: 'auditor' }]);
  },

  async 'pages that have nothing, and pages that fail'(s) {
    s.expected = [/status of 503/];
    const page = await s.signIn(emma, '/audit', { origin: s.empty.origin });
    for (const [path, text] of /** @type {const} */ ([
      ['/audit', texts.audit.none],
      ['/automation', texts.automation.none],
      ['/rollouts', texts.rollout.none],
      ['/remote', texts.remote.list.none],
    ])) {
      await page.goto(s.empty.origin + path);
      await page.getByText(text).first().waitFor();
      await s.accessible(page, `empty ${path}`);
    }
    const other = await s.signIn(emma, '/audit');
    for (const path of ['/audit', '/automation', '/rollouts', '/remote', '/organisation/people']) {
      s.mock.knobs.refuse = path.startsWith('/organisation') ? '/users' : path.replace('/automation', '/webhooks');
      await other.goto(s.mock.origin + path);
      await other.getByText(texts.problem.unavailable).first().waitFor();
      await s.accessible(other, `failing ${path}`);
      s.mock.knobs.refuse = '';
    }
  },
};
