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

  async 'people: found, given roles, locked out'(s) {
    s.expected = [/status of 409/];
    const page = await s.signIn(anna, '/organisation');
    await page.waitForURL(/\/organisation\/people/);
    await page.getByText('70 Personen').waitFor();
    await page.getByLabel(t.people.search).fill('muller');
    await page.getByText('8 Personen').waitFor();
    await page.getByRole('button', { name: 'Rollen von Jörg Müller' }).first().click();
    const dialog = page.getByRole('dialog');
    await dialog
      .getByText(/Was erlaubt das/)
      .first()
      .click();
    await dialog.getByText(t.verb.users.manage).waitFor();
    await dialog.getByRole('button', { name: t.roles.add }).click();
    await dialog.getByRole('combobox', { name: t.part.label }).last().click();
    await page.getByRole('option', { name: 'Hamburg, Lager 2' }).click();
    await s.accessible(page, 'roles');
    await s.snap('organisation-roles');
    await dialog.getByRole('button', { name: texts.de.common.save }).click();
    await page.getByText(/Administrator · Hamburg, Lager 2|Überwachung · Hamburg, Lager 2/).waitFor();

    await page.getByRole('button', { name: t.people.add }).click();
    await dialog.getByLabel(t.people.name).fill('Neue Person');
    await dialog.getByLabel('E-Mail').fill('neu@example.org');
    await dialog.getByLabel(t.people.password, { exact: true }).fill('kurz');
    await dialog.getByRole('button', { name: t.people.make }).click();
    await dialog.getByText('Mindestens 12 Zeichen.', { exact: true }).waitFor();
    await dialog.getByLabel(t.people.password, { exact: true }).fill('mehrere gute Wörter');
    await s.accessible(page, 'new person');
    await dialog.getByRole('button', { name: t.people.make }).click();
    await dialog.waitFor({ state: 'detached' });
    assert.deepEqual(s.mock.organisation.people[0]?.roles, []);

    await page.getByLabel(t.people.search).fill('neue person');
    await page.getByRole('button', { name: 'Neue Person sperren' }).click();
    await page.getByRole('button', { name: t.people.lockSure }).click();
    await page.getByText(t.people.locked, { exact: true }).waitFor();
    await page.getByRole('button', { name: 'Neue Person entsperren' }).click();
    await page.getByText(t.people.locked, { exact: true }).waitFor({ state: 'detached' });

    // Who may not see them is told who may.
    const stranger = await s.signIn(vera, '/organisation/people');
    await stranger.getByText('This takes one of these roles: Owner, Administrator, Auditor.').waitFor();
    await s.accessible(stranger, 'not for her');
  },

  async 'sites, customers, grants, emergency access'(s) {
    const page = await s.signIn(anna, '/organisation/sites');
    await page.getByLabel(t.sites.new).fill('Werkstatt Ost');
    await page.keyboard.press('Enter');
    await page.getByText('Werkstatt Ost').waitFor();
    await page.getByRole('button', { name: 'Werkstatt Ost umbenennen' }).click();
    await page.getByRole('textbox', { name: 'Werkstatt Ost umbenennen' }).fill('Werkstatt West');
    await page.keyboard.press('Enter');
    await page.getByText('Werkstatt West').waitFor();
    await page.getByRole('button', { name: 'Werkstatt West entfernen' }).click();
    await page.getByRole('button', { name: t.sites.removeSure }).click();
    await page.getByText('Werkstatt West').waitFor({ state: 'detached' });

    await page.getByRole('link', { name: t.tab.access }).click();
    await page.getByText('Harz Systemhaus').waitFor();
    await page.getByRole('button', { name: t.grants.add }).click();
    const dialog = page.getByRole('dialog');
    await dialog.getByRole('combobox', { name: t.tenant }).click();
    await page.getByRole('option', { name: 'Harz Systemhaus' }).click();
    await dialog.getByRole('button', { name: t.grants.submit }).click();
    await dialog.getByText(t.grants.rolesMissing).waitFor();
    await dialog.getByRole('checkbox', { name: 'Lizenzen' }).check();
    await s.accessible(page, 'grant');
    await s.snap('organisation-grant');
    await dialog.getByRole('button', { name: t.grants.submit }).click();
    await page.getByText(/Lizenzen · Alles/).waitFor();
    await page.getByRole('button', { name: 'Freigabe für Harz Systemhaus zurücknehmen' }).first().click();
    await page.getByRole('button', { name: t.grants.revokeSure }).click();
    await page.getByText(/Lizenzen · Alles/).waitFor({ state: 'detached' });
    await page.getByRole('button', { name: 'Jetzt beenden: Notzugriff von Ole Petersen' }).click();
    await page
      .getByText(/vorzeitig beendet/)
      .nth(1)
      .waitFor();

    await page.getByRole('link', { name: t.tab.customers }).click();
    await page.getByText('120 Kunden').waitFor();
    await page.getByLabel(t.customers.search).fill('boulangerie 7');
    await page.getByRole('button', { name: 'Notzugriff auf Boulangerie Martin 7', exact: true }).click();
    await dialog.getByLabel(texts.de.remote.ask.reason).fill('Ticket 12: alle Telefone stumm');
    await s.accessible(page, 'glass');
    await s.snap('organisation-glass');
    await dialog.getByRole('button', { name: t.glass.submit }).click();
    await page.waitForURL(/\/\?tenant=t-below-6/);
    await page.getByText(/Notzugriff bis .*Ticket 12/).waitFor();
  },

  async 'a system is handed over, and one comes'(s) {
    const system = [...s.mock.systems.values()].filter((x) => x.state === 'paired')[3];
    assert.ok(system);
    const page = await s.signIn(anna, `/systems/${system.id}`);
    await page.getByRole('button', { name: texts.de.system.more }).click();
    await page.getByRole('menuitem', { name: t.handover.button }).click();
    const dialog = page.getByRole('dialog');
    await dialog.getByRole('combobox', { name: t.tenant }).fill('krüger 8');
    await page.getByRole('option', { name: 'Autohaus Krüger 8', exact: true }).click();
    await s.accessible(page, 'hand-over');
    await dialog.getByRole('button', { name: t.handover.submit }).click();
    await page.waitForURL(/\/organisation\/handovers/);
    await page.getByText('an Autohaus Krüger 8').waitFor();
    await page
      .getByRole('button', { name: /^Angebot der Anlage .* zurückziehen/ })
      .first()
      .click();
    await page.getByText(t.handover.state.withdrawn).waitFor();
    await page.getByRole('button', { name: /^Anlage .* annehmen/ }).click();
    await page.getByText(t.handover.acceptText).waitFor();
    await page.getByRole('button', { name: t.handover.acceptSure }).click();
    await page.waitForURL(/\/setup$/);
    await page.getByTestId('token').waitFor();
  },

  'organisation in German': (s) => everyPage(s, 'de'),
  'organisation in English': (s) => everyPage(s, 'en'),
  'organisation in French': (s) => everyPage(s, 'fr'),
};

const people = { de: anna, en: 'emma@example.org', fr: 'luc@example.org' };

/** Each page light, dark and on a small phone. @param {Session} s @param {'de' | 'en' | 'fr'} language */
async function everyPage(s, language) {
  const page = await s.signIn(people[language], '/organisation');
  for (const name of ['people', 'sites', 'customers', 'access', 'handovers']) {
    await page.goto(`${s.mock.origin}/organisation/${name}`);
    await page.locator('main li').first().waitFor();
    // biome-ignore lint/performance/useDomNodeTextContent: it keeps the lines apart
    const shown = (await page.locator('body').innerText()).split('\n');
    const raw = shown.filter((line) => /^[a-z][A-Za-z]*(\.[A-Za-z_-]+)+$|\{\{/.test(line.trim()));
    assert.deepEqual(raw, [], `texts that are missing on ${name}`);
    for (const [view, as, rules] of /** @type {const} */ ([
      ['light', {}, undefined],
      ['dark', { scheme: 'dark' }, ['color-contrast']],
      ['phone', { width: 360, height: 740 }, undefined],
    ])) {
      await s.show(page, as);
      await s.accessible(page, `${name} ${language} ${view}`, rules && [...rules]);
      await s.fits(page);
      await page.mouse.move(0, 0);
      await s.snap(`organisation-${name}-${language}-${view}`);
    }
    await s.show(page, {});
  }
}
