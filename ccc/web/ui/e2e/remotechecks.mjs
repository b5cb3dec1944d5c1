// What the pages about remote access and the counts of accesses have to do.
import assert from 'node:assert/strict';
import { texts } from '../scripts/texts.mjs';

/** @typedef {import('./session.mjs').Session} Session */

const en = await texts('en');
const emma = 'emma@example.org';

/** @type {Record<string, (s: Session) => Promise<void>>} */
export const remoteChecks = {
  async 'remote access: asked for, let in, taken back'(s) {
    s.expected = [/status of 409/, /status of 403/, /status of 401/];
    const system = [...s.mock.systems.values()].find((x) => x.state === 'paired' && x.online);
    assert.ok(system);
    const page = await s.signIn(emma, `/systems/${system.id}`);
    await page.getByRole('button', { name: en.remote.ask.button }).click();
    const dialog = page.getByRole('dialog');
    const reason = dialog.getByLabel(en.remote.ask.reason);
    const send = dialog.getByRole('button', { name: en.remote.ask.submit });
    await reason.fill('off');
    await send.click();
    await dialog.getByRole('alert').getByText(en.problem.remote_off).waitFor();
    await reason.fill('no factor');
    await send.click();
    const prove = dialog.getByRole('link', { name: en.remote.prove });
    assert.match((await prove.getAttribute('href')) ?? '', /^\/sign-in\?step=second&next=%2Fsystems%2F/);
    await dialog.getByRole('combobox', { name: en.remote.ask.service }).click();
    await dialog.getByRole('option', { name: en.remote.service.ssh }).click();
    await send.click();
    await dialog.getByText(en.remote.ask.targetWrong).waitFor();
    await s.accessible(page, 'ask for remote access');
    await dialog.getByLabel(en.remote.ask.target).fill('switch-1');
    await reason.fill('No dial tone');
    await send.click();
    await page.getByText(en.remote.next.pending).waitFor();
    await page.getByText(/for another 1[45]:/).waitFor();
    const record = s.mock.records[0];
    assert.ok(record?.target === 'switch-1' && record.minutes === 60);
    // The PBX lets in: the page hears of it.
    Object.assign(record, { state: 'active', until: new Date(Date.now() + 3_600_000).toISOString() });
    s.mock.emit({ event: 'remote', data: { system_id: system.id } });
    await page.getByText(en.remote.next.active).waitFor();
    await page.getByText(/59:\d\d left|1:00:00 left/).waitFor();
    await s.accessible(page, 'active remote access');
    await s.show(page, { scheme: 'dark' });
    await s.snap('remote-active-dark');
    await page.getByRole('button', { name: en.remote.end }).click();
    await page.getByText(en.remoteCause.user).first().waitFor();
    // Who may not ask sees the records, and no button.
    const viewer = await s.signIn('vera@example.org', `/systems/${system.id}`);
    await viewer.getByText(en.remoteCause.user).first().waitFor();
    assert.equal(await viewer.getByRole('button', { name: en.remote.ask.button }).count(), 0);
  },

  async 'remote access: all records, by filter'(s) {
    const page = await s.signIn(emma, '/remote');
    const rows = page.locator('tbody tr');
    await rows.first().waitFor();
    assert.equal(await rows.count(), s.mock.records.length);
    await s.accessible(page, 'records');
    const serial = s.mock.records[2]?.serial ?? '';
    await page.getByLabel(en.system.serial).fill(serial);
    await page.waitForFunction(() => document.querySelectorAll('tbody tr').length === 1);
    assert.match(page.url(), new RegExp(serial.replace(/^0+/, '')));
    await page.reload();
    await rows.first().waitFor();
    assert.equal(await rows.count(), 1);
    await page.goto(`${s.mock.origin}/remote?state=open`);
    await page.getByText(en.remote.list.none).waitFor();
  },

  async 'statistics: plots, and the same as a table'(s) {
    s.mock.knobs.kind = 'customer';
    const other = await s.signIn(emma);
    await other.locator('h1').waitFor();
    assert.equal(await other.getByRole('link', { name: en.nav.statistics }).count(), 0);
    s.mock.knobs.kind = 'operator';
    const page = await s.signIn(emma, '/statistics');
    await page.getByRole('heading', { name: 'relay-1' }).waitFor();
    await page.getByText(en.statistics.failure.unreachable).waitFor();
    await page.getByText(en.statistics.alarm).waitFor();
    await page.getByText('13 of 14 days').waitFor();
    assert.equal(await page.locator('canvas').count(), 7);
    await s.accessible(page, 'statistics');
    await s.snap('statistics', { fullPage: true });
    await page.getByText(en.statistics.month).click();
    await page.waitForFunction(() => document.querySelectorAll('figcaption').length === 7);
    await page.getByText(en.statistics.table).first().click();
    await page.locator('details[open] tbody tr').nth(29).waitFor();
    await s.accessible(page, 'statistics as a table');
    for (const [name, as] of Object.entries({
      dark: { scheme: /** @type {const} */ ('dark') },
      phone: { width: 390, height: 844 },
    })) {
      await s.show(page, as);
      await s.fits(page);
      await s.accessible(page, `statistics ${name}`, ['color-contrast']);
      await s.snap(`statistics-${name}`, { fullPage: true });
    }
  },
};
