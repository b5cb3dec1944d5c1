// What the pages about settings and rollouts have to do; see checks.mjs.
import assert from 'node:assert/strict';
import { texts as textsOf } from '../scripts/texts.mjs';

/** @typedef {import('./session.mjs').Session} Session */

const texts = await textsOf('en');
const t = texts.rollout;
const emma = 'emma@example.org';

/** @type {Record<string, (s: Session) => Promise<void>>} */
export const rolloutChecks = {
  async 'settings: seen before they are saved, and two who change at once'(s) {
    s.expected = [/status of 412/, /status of 503/];
    const system = [...s.mock.systems.values()].find((x) => x.state === 'paired' && x.online);
    assert.ok(system);
    const page = await s.signIn(emma, `/systems/${system.id}/settings`);
    const server = page.getByLabel('Time server');
    await server.fill('ntp.example.org');
    await page.getByRole('button', { name: t.settings.check }).click();
    await page.getByRole('heading', { name: t.settings.preview }).waitFor();
    await s.accessible(page, 'settings');
    await s.snap('settings');
    // Somebody at the PBX is faster, and then the PBX does not answer for a while.
    s.mock.rollouts.changeAtPBX(system.id, { ntp_server: 'time.example.net' });
    s.mock.rollouts.knobs.unread = 1;
    await page.getByRole('button', { name: t.settings.save, exact: true }).click();
    const alert = page.getByRole('alert').filter({ hasText: t.conflict.title });
    await alert.getByText(texts.problem.unavailable).waitFor();
    await s.accessible(page, 'settings, not read again');
    await s.snap('settings-unread');
    await alert.getByRole('button', { name: texts.failure.retry }).click();
    await alert.getByText('time.example.net').waitFor();
    await s.accessible(page, 'settings, conflict');
    await s.show(page, { width: 360, height: 740, scheme: 'dark' });
    await s.fits(page);
    await s.snap('settings-conflict-dark');
    await s.show(page, {});
    await alert.getByRole('button', { name: t.conflict.keep }).click();
    await page.getByText(t.settings.saved).waitFor();
    assert.equal(await server.inputValue(), 'ntp.example.org');
  },

  async 'a rollout: prepared, started, halted, followed live'(s) {
    const page = await s.signIn(emma, '/rollouts');
    await page.getByRole('link', { name: 'Zeitserver umstellen' }).waitFor();
    await page.getByText('Uhrzeit und DNS').waitFor();
    await page.getByRole('link', { name: t.make.button }).click();
    await page.getByLabel(t.name).fill('Time for everybody');
    await page.getByLabel(t.lines.label).fill('ntp_server = ntp.example.org');
    await page.getByLabel(t.plan.max_percent).fill('5');
    await page.getByLabel(t.plan.window.use).check();
    await page.getByLabel(t.plan.window.to).fill('22:00');
    await page.getByText(t.plan.window.equal).waitFor();
    const submit = page.getByRole('button', { name: t.make.submit });
    assert.ok(await submit.isDisabled());
    await page.getByLabel(t.plan.window.to).fill('05:30');
    await s.accessible(page, 'new rollout');
    await s.snap('rollout-new');
    await s.show(page, { width: 360, height: 740, scheme: 'dark' });
    await s.fits(page);
    await s.accessible(page, 'new rollout, dark', ['color-contrast']);
    await s.snap('rollout-new-dark', { fullPage: true });
    await s.show(page, {});
    await submit.click();
    await page.getByRole('heading', { name: 'Time for everybody' }).waitFor();
    const made = s.mock.rollouts.rollouts.at(-1);
    assert.ok(made);
    assert.deepEqual(
      { window: made.plan.window, percent: made.plan.max_percent },
      { window: { from: '22:00', to: '05:30', zone: 'Europe/Berlin' }, percent: 5 },
    );
    await page.getByText('Only from 22:00 to 05:30 each day (Europe/Berlin)').waitFor();
    await page.getByRole('button', { name: t.action.start }).click();
    const dialog = page.getByRole('dialog');
    await s.accessible(page, 'start of a rollout');
    await dialog.getByRole('button', { name: t.action.start }).click();
    await page.getByText(t.state.running).waitFor();
    // The page hears how it goes on.
    s.mock.rollouts.progress(made, { state: 'halted', reason: 'failures' }, (d) =>
      d.ring === 0 ? { state: 'failed', code: 'verify', detail: 'ntp_server' } : {},
    );
    await page.getByText(t.state.halted).waitFor();
    await page.getByText(t.code.verify, { exact: false }).first().waitFor();
    await page.getByRole('combobox', { name: t.stateLabel }).selectOption('bad');
    await page.waitForFunction(() => document.querySelectorAll('tbody tr td time').length === 1);
    await s.accessible(page, 'halted rollout');
    await s.snap('rollout-halted');
  },

  async 'why systems are offline is a filter, which is kept'(s) {
    const page = await s.signIn(emma);
    await s.loaded(page);
    const reason = texts.history.reason.certificate_expired;
    const expired = [...s.mock.systems.values()].filter((x) => !x.online && x.offline_reason === 'certificate_expired');
    assert.ok(expired.length > 0 && expired[0]);
    await page.getByRole('button', { name: texts.filter.button, exact: true }).click();
    await page.getByRole('combobox', { name: texts.history.filter.label }).click();
    await page.getByRole('option', { name: reason }).click();
    await page.waitForURL(/reason=certificate_expired/);
    await page.keyboard.press('Escape');
    await page.getByText(expired.length === 1 ? 'One system found' : `${expired.length} systems found`).waitFor();
    await page.locator('[data-index="0"]').waitFor();
    // It is kept, and found again.
    await page.getByRole('button', { name: texts.onboarding.saved.button }).click();
    await page.getByRole('menuitem', { name: texts.onboarding.saved.save }).click();
    await page.getByRole('dialog').getByLabel(texts.onboarding.saved.name).fill('Expired');
    await page.getByRole('button', { name: texts.onboarding.saved.keep, exact: true }).click();
    await page.getByText(texts.onboarding.saved.done).waitFor();
    assert.equal(s.mock.account.filters[0]?.filter.offline_reason, 'certificate_expired');
    await page.getByRole('button', { name: texts.filter.remove.replace('{{name}}', reason) }).click();
    await page.waitForURL((url) => !url.search.includes('reason'));
    // One that comes back is not in it any more.
    await page.goto(`${s.mock.origin}/?reason=certificate_expired`);
    await page.locator('[data-index="0"]').waitFor();
    await page.getByText(expired.length === 1 ? 'One system found' : `${expired.length} systems found`).waitFor();
    const count = () => page.getByRole('table').getAttribute('aria-rowcount');
    const before = Number(await count());
    const since = new Date().toISOString();
    s.mock.emit({ event: 'presence', data: { id: expired[0].id, online: true, since, transport: 'quic', rtt_ms: 9 } });
    await page.waitForFunction((n) => {
      const table = document.querySelector('[role=table]');
      return table === null || Number(table.getAttribute('aria-rowcount')) < n;
    }, before);
  },
};
