// What the pages about firmware have to do; see checks.mjs.
import assert from 'node:assert/strict';
import { texts as textsOf } from '../scripts/texts.mjs';

/** @typedef {import('./session.mjs').Session} Session */

const texts = await textsOf('en');
const t = texts.firmware;
const emma = 'emma@example.org';
const fill = (/** @type {string} */ text, /** @type {Record<string, string>} */ values) =>
  text.replace(/\{\{(\w+)\}\}/g, (_, name) => values[name] ?? '');

/** @type {Record<string, (s: Session) => Promise<void>>} */
export const firmwareChecks = {
  async 'firmware: uploaded, refused, deleted'(s) {
    s.expected = [/status of 422/, /status of 409/];
    const page = await s.signIn(emma, '/firmware');
    await page.getByText('COMtrexx Business 2.1.0').waitFor();
    const choose = page.locator('input[type=file]');
    const send = page.getByRole('button', { name: t.send, exact: true });
    assert.ok(await send.isDisabled());
    await choose.setInputFiles({ name: 'a.fw', mimeType: 'application/octet-stream', buffer: Buffer.from('unsigned') });
    await send.click();
    await page.getByRole('alert').getByText(texts.problem.firmware_signature).waitFor();
    assert.equal(s.mock.firmware.images.length, 2);
    await s.accessible(page, 'upload refused');
    await s.snap('firmware-refused');
    await choose.setInputFiles({ name: 'b.fw', mimeType: 'application/octet-stream', buffer: Buffer.alloc(3_000_000) });
    let answer = () => {};
    s.mock.knobs.gate = new Promise((resolve) => {
      answer = () => resolve(undefined);
    });
    await send.click();
    await page.getByText(t.checking).waitFor();
    await s.accessible(page, 'uploading');
    await s.snap('firmware-uploading');
    answer();
    await page.getByText('COMtrexx Business 2.2.0').first().waitFor();
    assert.equal(s.mock.firmware.images.length, 3);
    // One that a rollout brings stays; another one goes after a question.
    const dialog = page.getByRole('dialog');
    const removing = async (/** @type {string} */ version) => {
      const name = fill(t.removeName, { model: 'COMtrexx Business', version });
      await page.getByRole('button', { name }).click();
      await s.accessible(page, 'removing an image');
      await dialog.getByRole('button', { name: t.remove, exact: true }).click();
    };
    await removing('2.1.0');
    await page.getByText(texts.problem.firmware_in_use).waitFor();
    await page.keyboard.press('Escape');
    await removing('2.0.3');
    await page.getByText('COMtrexx Business 2.0.3', { exact: true }).waitFor({ state: 'detached' });
    assert.equal(s.mock.firmware.images.length, 2);
    // Who is no operator sees the list alone.
    s.mock.knobs.kind = 'customer';
    const other = await s.signIn(emma, '/firmware');
    await other.getByText('COMtrexx Business 2.1.0').waitFor();
    assert.equal(await other.locator('input[type=file]').count(), 0);
    assert.equal(await other.getByRole('button', { name: /Delete/ }).count(), 0);
  },

  async 'firmware: brought to systems by a rollout, and to one'(s) {
    const page = await s.signIn(emma, '/firmware');
    await page.getByRole('link', { name: t.bring }).first().click();
    await page.waitForURL(/kind=firmware/);
    await page.getByLabel(texts.rollout.name).fill('To 2.1');
    assert.equal(await page.getByLabel(t.image).inputValue(), 'fw-1');
    await page.getByLabel(t.downgrade).check();
    await s.accessible(page, 'new rollout of firmware');
    await s.snap('rollout-firmware-new');
    await page.getByRole('button', { name: texts.rollout.make.submit }).click();
    await page.getByRole('heading', { name: 'To 2.1' }).waitFor();
    const made = s.mock.rollouts.rollouts.at(-1);
    assert.ok(made);
    assert.deepEqual(
      { kind: made.kind, firmware: made.firmware?.id, downgrade: made.plan.downgrade },
      { kind: 'firmware', firmware: 'fw-1', downgrade: true },
    );
    await page.getByText('COMtrexx Business 2.1.0').first().waitFor();
    await page.getByRole('cell', { name: '2.0.3' }).first().waitFor();
    await page.getByText(texts.rollout.code.maintenance, { exact: false }).first().waitFor();
    await s.accessible(page, 'dry run of firmware');
    await s.snap('rollout-firmware');
    await s.show(page, { width: 360, height: 740, scheme: 'dark' });
    await s.fits(page);
    await s.snap('rollout-firmware-dark', { fullPage: true });
    await s.show(page, {});

    const system = [...s.mock.systems.values()].find((x) => x.state === 'paired' && x.online);
    assert.ok(system);
    await page.goto(`${s.mock.origin}/systems/${system.id}`);
    await page.getByText(t.maintenance.none).waitFor();
    await page.getByRole('button', { name: t.ask }).click();
    await page.getByText('COMtrexx Business, firmware 2.0.3').waitFor();
    await page.getByRole('button', { name: t.maintenance.edit }).click();
    const dialog = page.getByRole('dialog');
    await dialog.getByLabel(t.maintenance.label).fill('2031-03-31');
    await s.accessible(page, 'maintenance');
    await dialog.getByRole('button', { name: texts.common.save }).click();
    await page.getByText(/Paid until 31 March 2031|Paid until .*2031/).waitFor();
    assert.match(s.mock.systems.get(system.id)?.maintenance_until ?? '', /^2031-03-31/);
    await s.snap('system-maintenance');
    await page.getByRole('link', { name: t.maintenance.update }).click();
    await page.waitForURL(/system=/);
    await page.getByText(system.serial, { exact: false }).first().waitFor();
  },
};
