// Why systems are offline, and the map.
import assert from 'node:assert/strict';
import { texts as textsOf } from '../scripts/texts.mjs';

/** @typedef {import('./session.mjs').Session} Session */

const texts = await textsOf('en');
const emma = 'emma@example.org';

/** @type {Record<string, (s: Session) => Promise<void>>} */
export const historyChecks = {
  async 'why a system is offline'(s) {
    const gone = [...s.mock.systems.values()].find((x) => x.offline_reason === 'certificate_expired');
    const clone = [...s.mock.systems.values()].find((x) => x.quarantined);
    assert.ok(gone && clone);
    const page = await s.signIn(emma, '/?status=offline');
    await page.getByText(texts.history.reason.certificate_expired).first().waitFor();
    await page.goto(`${s.mock.origin}/systems/${gone.id}`);
    await page.getByText(texts.history.hint.certificate_expired).waitFor();
    // The band, by the pointer, and as a table.
    const band = page.locator('svg[role=img]');
    await band.waitFor();
    const box = await band.boundingBox();
    assert.ok(box);
    await page.mouse.move(box.x + box.width - 3, box.y + 10);
    await page.locator('p b', { hasText: texts.history.reason.certificate_expired }).waitFor();
    await page.getByText(texts.history.week, { exact: true }).click();
    await page.getByText(texts.history.table).click();
    const rows = page.getByRole('region', { name: texts.history.table }).getByRole('row');
    await rows.filter({ hasText: texts.history.reason.network }).waitFor();
    await s.accessible(page, 'history');
    await s.snap('history');
    await s.show(page, { width: 360, height: 800, scheme: 'dark' });
    await s.fits(page);
    // One in quarantine is shown as that.
    await page.goto(`${s.mock.origin}/systems/${clone.id}`);
    await page.getByText(texts.status.quarantined).first().waitFor();
    await page.getByText(texts.history.hint.clone).waitFor();
  },

  async 'the map'(s) {
    const page = await s.signIn(emma, '/map');
    await page.locator('svg g path').first().waitFor();
    const marker = page.getByRole('button', { name: /^Berlin, / });
    await marker.waitFor();
    const map = page.getByRole('region', { name: texts.history.map.label });
    const place = async () => (await marker.boundingBox())?.x ?? 0;
    const start = await place();
    // By keyboard, by the pointer, and back.
    await map.focus();
    await page.keyboard.press('ArrowRight');
    await page.waitForFunction(() => document.querySelector('svg g[role=button]') !== null);
    assert.ok((await place()) < start, 'an arrow does not move the map');
    await page.getByRole('button', { name: texts.history.map.fit }).click();
    assert.ok(Math.abs((await place()) - start) < 2, 'the map does not come back');
    const box = await map.boundingBox();
    assert.ok(box);
    await page.mouse.move(box.x + 60, box.y + box.height - 60);
    await page.mouse.down();
    await page.mouse.move(box.x + 120, box.y + box.height - 60, { steps: 4 });
    await page.mouse.up();
    assert.ok((await place()) > start + 40, 'the pointer does not move the map');
    await page.mouse.wheel(0, -400);
    // Another scale gathers and parts: far away there is one marker for both.
    for (let i = 0; i < 8; i++) await page.getByRole('button', { name: texts.history.map.out }).click({ force: true });
    await page.getByRole('button', { name: /^2 sites, / }).waitFor();
    await page.keyboard.press('Tab');
    await page.getByRole('button', { name: /^2 sites, / }).press('Enter');
    await marker.waitFor();
    // A site that has no position yet gets one by a click, and keeps it.
    await page.getByRole('button', { name: /^Clermont-Ferrand/ }).click();
    await page.getByRole('button', { name: texts.history.map.place }).click();
    await page.mouse.click(box.x + 100, box.y + 100);
    const latitude = page.getByLabel(texts.history.map.latitude);
    assert.match(await latitude.inputValue(), /^-?\d+\.\d+$/);
    await latitude.fill('45,78');
    await page.getByLabel(texts.history.map.longitude).fill('200');
    await page.getByRole('button', { name: texts.history.map.save }).click();
    await page.getByText(texts.history.map.longitudeWrong).waitFor();
    await page.getByLabel(texts.history.map.longitude).fill('3.08');
    await s.accessible(page, 'map, placing');
    await page.getByRole('button', { name: texts.history.map.save }).click();
    await page.getByRole('button', { name: texts.history.map.change }).waitFor();
    await page.getByRole('button', { name: /^Clermont-Ferrand, / }).waitFor();
    await s.snap('map-placed');
    await s.show(page, { width: 360, height: 800, scheme: 'dark' });
    await s.fits(page);
    // All of it came from this server; session.mjs complains of anything else.
    const from = await page.evaluate(() => performance.getEntriesByType('resource').map((r) => new URL(r.name).origin));
    assert.ok(from.length > 3);
    assert.deepEqual([...new Set(from)], [new URL(page.url()).origin]);
  },
};
