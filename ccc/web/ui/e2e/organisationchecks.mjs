// What the pages about tenants and people have to do; see checks.mjs.
import assert from 'node:assert/strict';
import { texts as textsOf } from '../scripts/texts.mjs';

/** @typedef {import('./session.mjs').Session} Session */

const texts = Object.fromEntries(await Promise.all(['de', 'en', 'fr'].map(async (l) => [l, await textsOf(l)])));
const anna = 'anna@example.org';
const vera = 'vera@example.org';
const t = texts.de.organisation;

/** @type {Record<string, (s: Session) => Promise<void>>} */
export const organisationChecks = {
  async 'another tenant: entered, kept, told, left'(s) {
    // That a tenant is not to be seen any more is heard by a 404.
    s.expected = [/status of 404/, /ApiError: not_found/, /ERR_INCOMPLETE_CHUNKED/];
    const page = await s.signIn(anna);
    await s.loaded(page);
    await page.getByRole('button', { name: /Mandant wechseln/ }).click();
    await page.getByRole('link', { name: 'Praxis Dr. Lindner Notzugriff' }).waitFor();
    await s.accessible(page, 'switch');
    await s.snap('tenant-switch');
    await page.getByRole('link', { name: /Kanzlei Voß.*Zugang/ }).click();
    await page.waitForURL(/tenant=t-7/);
    const band = page.getByRole('complementary', { name: t.band.label });
    await band.getByText('Sie arbeiten bei Kanzlei Voß & Partner.').waitFor();
    await band.getByText(/Freigegeben bis/).waitFor();
    await s.loaded(page);
    // From now on each request and the stream are about the other one.
    s.mock.tenants.length = 0;
    s.mock.dropStreams();
    await page.getByRole('link', { name: 'Fernzugriff' }).click();
    await page.waitForURL(/\/remote\?tenant=t-7/);
    await page.locator('tbody tr').first().waitFor();
    await page.getByRole('link', { name: 'Anlagen' }).click();
    await page.waitForURL(/\/\?tenant=t-7/);
    await page.reload();
    await s.loaded(page);
    await page.locator('[role=row][data-index] a').first().click();
    await page.waitForURL(/\/systems\/[^?]+\?tenant=t-7/);
    await band.waitFor();
    assert.ok(s.mock.tenants.length > 5 && s.mock.tenants.every((one) => one === 't-7'), s.mock.tenants.join());

    await page.goto(`${s.mock.origin}/?tenant=t-9`);
    await band.getByText(/Notzugriff bis/).waitFor();
    for (const [name, view] of /** @type {const} */ ([
      ['light', {}],
      ['dark', { scheme: 'dark' }],
      ['phone', { width: 360, height: 740 }],
    ])) {
      await s.show(page, view);
      await s.accessible(page, `band ${name}`);
      await s.fits(page);
      await s.snap(`band-${name}`);
    }
    await s.show(page, {});
    // Another window is in another tenant meanwhile.
    const other = await page.context().newPage();
    await other.goto(`${s.mock.origin}/?tenant=t-8`);
    await other.getByText(/bis es zurückgenommen wird/).waitFor();
    await other.close();
    await page.reload();
    await band.getByRole('button', { name: t.band.end }).click();
    await page.waitForURL(`${s.mock.origin}/`);
    await s.loaded(page);
    assert.equal(await band.count(), 0);

    // A tenant that takes its grant back.
    await page.goto(`${s.mock.origin}/remote?tenant=t-7`);
    await band.waitFor();
    s.mock.organisation.elsewhere.delete('t-7');
    s.mock.dropStreams();
    await page.getByRole('heading', { name: t.gone.title }).waitFor();
    await s.accessible(page, 'gone');
    await s.snap('tenant-gone');
    await page.getByRole('link', { name: t.gone.home }).click();
    await s.loaded(page);
    assert.equal(new URL(page.url()).search, '');
  },

  async 'signing in leads to the tenant of the link, and back from the gateway too'(s) {
    s.expected = [/status of 404/, /ApiError: not_found/];
    const page = await s.signIn(anna, '/remote?tenant=t-7');
    await page.waitForURL(/\/remote\?tenant=t-7/);
    await page.getByText('Sie arbeiten bei Kanzlei Voß & Partner.').waitFor();
    const record = s.mock.records.find(({ state }) => state === 'ended');
    assert.ok(record);
    await page.evaluate(
      ([key, value]) => sessionStorage.setItem(key ?? '', value ?? ''),
      ['ccc-remote-open', JSON.stringify({ session: record.id, at: Date.now(), tenant: 't-7' })],
    );
    await page.goto(`${s.mock.origin}/remote/${record.id}?label=abc&browser=def`);
    await page.waitForURL(/label=abc&browser=def&tenant=t-7/);
    await page.getByText('Sie arbeiten bei Kanzlei Voß & Partner.').waitFor();

    const stranger = await s.signIn(vera, '/remote?tenant=t-7');
    await stranger.getByRole('heading', { name: texts.en.organisation.gone.title }).waitFor();
    await stranger.getByRole('link', { name: texts.en.organisation.gone.home }).click();
    await s.loaded(stranger);
  },
};
