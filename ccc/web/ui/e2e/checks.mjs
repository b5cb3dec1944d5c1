// What the pages have to do, each with its own windows. The names are what run.mjs takes.
import assert from 'node:assert/strict';
import { texts as textsOf } from '../scripts/texts.mjs';
import { areaChecks } from './areachecks.mjs';
import { firmwareChecks } from './firmwarechecks.mjs';
import { historyChecks } from './historychecks.mjs';
import { organisationChecks } from './organisationchecks.mjs';
import { remoteChecks } from './remotechecks.mjs';
import { rolloutChecks } from './rolloutchecks.mjs';
import { scrolling, typing } from './smoothness.mjs';

/** @typedef {import('./session.mjs').Session} Session */

const texts = Object.fromEntries(await Promise.all(['de', 'en', 'fr'].map(async (l) => [l, await textsOf(l)])));
const people = { de: 'anna@example.org', en: 'emma@example.org', fr: 'luc@example.org' };
let serials = 0;
const newSerial = () => `00000${String(10_000 + ++serials)}`;

/** Adds a PBX and gives its id. @param {Session} s @param {import('playwright-core').Page} page @param {string} name */
async function add(s, page, name) {
  const serial = newSerial();
  await page.goto(`${s.mock.origin}/add`);
  await page.fill('input[inputmode=numeric]', serial);
  await page.getByRole('textbox').nth(1).fill(name);
  await page.click('button[type=submit]');
  await page.waitForURL(/setup$/);
  await page.getByTestId('token').waitFor();
  return { id: page.url().split('/')[4] ?? '', serial };
}

const views = /** @type {const} */ ({
  light: {},
  dark: { scheme: 'dark' },
  phone: { width: 390, height: 844 },
});

/** Each page light, dark and on a phone. @param {Session} s @param {'de' | 'en' | 'fr'} language */
async function everyPage(s, language) {
  const waiting = [...s.mock.systems.values()].find((x) => x.state === 'received');
  const offline = [...s.mock.systems.values()].find(
    (x) => x.state === 'paired' && !x.online && x.note && x.tags.length > 1,
  );
  const online = [...s.mock.systems.values()].find((x) => x.state === 'paired' && x.online);
  assert.ok(waiting && offline && online);
  s.mock.makeOffer(waiting, s.mock.user(people[language]));
  const page = await s.signIn(people[language]);
  for (const [name, path] of Object.entries({
    fleet: '/',
    add: '/add',
    details: `/systems/${offline.id}`,
    setup: `/systems/${waiting.id}/setup`,
    map: '/map',
    remote: '/remote',
    statistics: '/statistics',
    rollouts: '/rollouts',
    newRollout: '/rollouts/new',
    rollout: '/rollouts/r-1',
    settings: `/systems/${online.id}/settings`,
    firmware: '/firmware',
    onboarding: '/onboarding',
    automation: '/automation',
    audit: '/audit',
    account: '/account',
    privacy: '/privacy',
    lost: '/nothing-here',
  })) {
    await page.goto(s.mock.origin + path);
    await page.locator('h1').waitFor();
    if (name === 'fleet') await s.loaded(page);
    if (name === 'setup') await page.getByTestId('token').waitFor();
    if (name === 'details') await page.locator('li time').first().waitFor();
    if (name === 'map') await page.locator('svg g path').first().waitFor();
    if (name === 'details') await page.locator('svg[role=img] rect').first().waitFor();
    if (name === 'remote') await page.locator('tbody tr').first().waitFor();
    if (name === 'statistics') await page.locator('canvas').first().waitFor();
    if (name === 'rollouts' || name === 'audit') await page.locator('tbody tr').first().waitFor();
    if (name === 'rollout') await page.locator('tbody tr time').first().waitFor();
    if (name === 'settings') await page.locator('main form input').first().waitFor();
    if (name === 'automation') await page.locator('article').first().waitFor();
    if (name === 'account')
      await page.locator('section[aria-labelledby=tokens] li, section[aria-labelledby=tokens] p + p').first().waitFor();
    // biome-ignore lint/performance/useDomNodeTextContent: it keeps the lines apart
    const shown = (await page.locator('body').innerText()).split('\n');
    const raw = shown.filter((line) => /^[a-z][A-Za-z]*(\.[A-Za-z_-]+)+$|\{\{/.test(line.trim()));
    assert.deepEqual(raw, [], `texts that are missing on ${name}`);
    assert.equal(await page.evaluate(() => document.documentElement.lang), language);
    for (const [view, as] of Object.entries(views)) {
      await s.show(page, as);
      // In the dark only the colours are others.
      await s.accessible(page, `${name} ${language} ${view}`, view === 'dark' ? ['color-contrast'] : undefined);
      await s.fits(page);
      await page.mouse.move(0, 0);
      await s.snap(`${name}-${language}-${view}`);
    }
  }
}

/** The checks that need ten thousand systems. */
export const large = new Set([
  'the table has ten thousand systems and few rows',
  'search, filters and order',
  'smooth with ten thousand rows',
]);

/** What has to have the machine for itself. */
export const alone = new Set(['smooth with ten thousand rows']);

/** @type {Record<string, (s: Session) => Promise<void>>} */
export const checks = {
  async 'sign-in says what is wrong'(s) {
    s.expected = [/status of 401/, /status of 429/];
    const page = await s.open('/sign-in');
    await s.accessible(page, 'sign-in');
    await s.snap('sign-in');
    await page.click('button[type=submit]');
    await page.getByText(texts.en.signIn.emailMissing).waitFor();
    await page.fill('input[type=email]', people.en);
    await page.fill('input[type=password]', 'wrong');
    await page.keyboard.press('Enter');
    await page.getByRole('alert').getByText(texts.en.problem.bad_credentials).waitFor();
    await page.fill('input[type=password]', 'too often');
    await page.keyboard.press('Enter');
    await page.getByText(/Please try again in 5 minutes/).waitFor();
    await s.accessible(page, 'sign-in with errors');
    await page.getByRole('button', { name: 'Français' }).click();
    await page.getByRole('button', { name: texts.fr.signIn.submit }).waitFor();
    assert.equal(await page.evaluate(() => document.documentElement.lang), 'fr');
  },

  async 'the table has ten thousand systems and few rows'(s) {
    const page = await s.signIn(people.en);
    await s.loaded(page);
    assert.equal(await page.getByRole('table').getAttribute('aria-rowcount'), String(s.mock.systems.size + 1));
    const rows = await page.locator('[role=row][data-index]').count();
    assert.ok(rows < 60, `${rows} rows in the page`);
    await s.accessible(page, 'fleet');
    await page.mouse.move(0, 0);
    await s.snap('fleet');
    await s.show(page, { scheme: 'dark' });
    await s.snap('fleet-dark');
  },

  async 'search, filters and order'(s) {
    const page = await s.signIn(people.en);
    await s.loaded(page);
    const first = () => page.locator('[data-index="0"] a').textContent();
    const count = () =>
      page
        .getByRole('table')
        .getAttribute('aria-rowcount')
        .then((n) => Number(n) - 1);
    await page.keyboard.press('/');
    await page.keyboard.type('backerei kiel 7');
    await page.locator('[data-index="0"]', { hasText: 'Bäckerei Krause Kiel' }).waitFor();
    await page.waitForURL(/q=backerei/);
    await page.reload();
    await page.getByText(/systems? found/).waitFor();
    assert.equal(await page.inputValue('input[type=search]'), 'backerei kiel 7');
    await page.focus('input[type=search]');
    await page.keyboard.press('Escape');
    const [some] = s.mock.systems.values();
    assert.ok(some);
    await page.keyboard.type(`${some.serial.slice(0, 5)} ${some.serial.slice(5)}`);
    await page.getByText('One system found').waitFor();
    assert.equal(await first(), some.name);
    await page.keyboard.press('Escape');

    await page.getByRole('button', { name: /Offline/ }).click();
    const offline = [...s.mock.systems.values()].filter((x) => x.state === 'paired' && !x.online).length;
    await page.getByText(`${offline} systems found`).waitFor();
    await page.goBack();
    await page.goForward();
    await page.getByRole('button', { name: /All/ }).click();

    await page.getByRole('button', { name: 'Filter' }).click();
    await page.getByRole('dialog').waitFor();
    await s.accessible(page, 'filters');
    await page.getByRole('combobox', { name: 'Group' }).click();
    await page.getByRole('option', { name: 'Frankreich' }).click();
    const inGroup = [...s.mock.systems.values()].filter((x) => x.groups.some((g) => g.name === 'Frankreich')).length;
    await page.getByText(`${inGroup.toLocaleString('en-GB')} systems found`).waitFor();
    assert.equal(await count(), inGroup);
    await page.keyboard.press('Escape');
    await s.snap('filtered');
    await page.getByRole('button', { name: 'Remove filter Frankreich' }).click();

    await page.getByRole('columnheader', { name: 'Serial' }).getByRole('button').click();
    await page.waitForURL(/sort=serial/);
    const lowest = [...s.mock.systems.values()].sort((a, b) => (a.serial < b.serial ? -1 : 1))[0];
    await page.locator('[data-index="0"]', { hasText: lowest?.serial.slice(0, 5) ?? '' }).waitFor();
    assert.equal(await page.getByRole('columnheader', { name: 'Serial' }).getAttribute('aria-sort'), 'ascending');

    await page.fill('input[type=search]', 'nothing is called so');
    await page.getByText(texts.en.noMatch.title).waitFor();
    await s.accessible(page, 'no match');
    await s.snap('no-match');
    await page.getByRole('button', { name: texts.en.noMatch.clear }).click();
    await page.locator('[data-index="0"]').waitFor();
  },

  async 'the keyboard goes through the table'(s) {
    const page = await s.signIn(people.en);
    await s.loaded(page);
    const at = () => page.evaluate(() => document.activeElement?.closest('[data-index]')?.getAttribute('data-index'));
    await page.locator('[data-index="0"] a').focus();
    for (const [key, want] of [
      ['ArrowDown', '1'],
      ['PageDown', '11'],
      ['ArrowUp', '10'],
      ['End', String(s.mock.systems.size - 1)],
      ['Home', '0'],
    ]) {
      await page.keyboard.press(key ?? '');
      await page.waitForFunction(
        (w) => document.activeElement?.closest('[data-index]')?.getAttribute('data-index') === w,
        want,
      );
    }
    assert.equal(await at(), '0');
    await page.keyboard.press('Enter');
    await page.waitForURL(/\/systems\//);
  },

  async 'rows change live'(s) {
    const page = await s.signIn(people.en);
    await s.loaded(page);
    const name = (await page.locator('[data-index="1"] a').textContent()) ?? '';
    const id = (await page.locator('[data-index="1"] a').getAttribute('href'))?.split('/').at(-1) ?? '';
    const row = page.locator('[data-index="1"]');
    const since = new Date().toISOString();
    s.mock.emit({ event: 'presence', data: { id, online: false, since } });
    await row.getByText('Offline').waitFor();
    await row.getByText('just now').waitFor();
    s.mock.emit({ event: 'presence', data: { id, online: true, since, transport: 'tcp', rtt_ms: 42 } });
    await row.getByText('TCP · 42 ms').waitFor();
    s.mock.change(id, { name: `${name}!` });
    await row.getByText(`${name}!`).waitFor();
    s.mock.change(id, { name });
  },

  async 'adding a PBX, step by step'(s) {
    const page = await s.signIn(people.de);
    await page.goto(`${s.mock.origin}/add`);
    await page.click('button[type=submit]');
    await page.getByText(texts.de.add.serialMissing).waitFor();
    await page.fill('input[inputmode=numeric]', '0123');
    await page.keyboard.press('Tab');
    await page.getByText(texts.de.add.serialWrong).waitFor();
    await s.accessible(page, 'add with errors');
    await page.fill('input[inputmode=numeric]', '');
    await page.locator('input[inputmode=numeric]').pressSequentially('0123456788');
    assert.equal(await page.inputValue('input[inputmode=numeric]'), '01234 56788');
    await page.getByLabel('Name').fill('Praxis Dr. Lindner Celle');
    await page.getByRole('button', { name: texts.de.add.more }).click();
    await page.getByRole('combobox', { name: 'Gruppen' }).fill('Ostsee');
    await page.getByRole('option', { name: 'Neue Gruppe „Ostsee“' }).click();
    await page.getByRole('combobox', { name: 'Tags' }).fill('pilot');
    await page.keyboard.press('Enter');
    await s.accessible(page, 'add');
    await s.snap('add');
    await page.getByRole('button', { name: texts.de.add.submit }).click();

    const token = page.getByTestId('token');
    await token.waitFor();
    const id = page.url().split('/')[4] ?? '';
    const offer = s.mock.offers.get(id);
    assert.ok(offer);
    assert.equal(await token.textContent(), offer.token);
    assert.deepEqual(
      s.mock.systems.get(id)?.groups.map((g) => g.name),
      ['Ostsee'],
    );
    assert.match((await page.getByRole('timer').textContent()) ?? '', /^(23:59:5\d|24:00:00)$/);
    await page.getByText(offer.code, { exact: true }).waitFor();
    await page.getByRole('button', { name: texts.de.setup.copy }).click();
    await page.getByText(texts.de.setup.copied).waitFor();
    assert.equal(await page.evaluate(() => navigator.clipboard.readText()), offer.token);
    await s.accessible(page, 'setup');

    const current = page.locator('[aria-current=step]');
    s.mock.emit({ event: 'offer', data: { system_id: id, step: 'sent' } });
    await current.getByText(texts.de.step.sent.title).waitFor();
    await page.getByText(texts.de.step.sent.text).waitFor();
    s.mock.setState(id, 'received');
    s.mock.emit({ event: 'offer', data: { system_id: id, step: 'received' } });
    await current.getByText(texts.de.step.typed.title).waitFor();
    await s.snap('setup');

    // Coming back later, from the page of the system.
    await page.goto(`${s.mock.origin}/systems/${id}`);
    await page.getByRole('link', { name: texts.de.hint.continue }).click();
    assert.equal(await page.getByTestId('token').textContent(), offer.token);

    s.mock.setState(id, 'proving');
    s.mock.emit({ event: 'offer', data: { system_id: id, step: 'completed' } });
    await page.getByText(texts.de.setup.proving.title).waitFor();
    assert.equal(await page.getByText(offer.token).count(), 0);
    await s.accessible(page, 'setup proving');
    const now = new Date().toISOString();
    s.mock.setState(id, 'paired', { online: true, online_since: now, paired_at: now, transport: 'quic', rtt_ms: 18.2 });
    s.mock.emit({ event: 'offer', data: { system_id: id, step: 'proved' } });
    await page.getByText('Praxis Dr. Lindner Celle ist verbunden').waitFor();
    await s.accessible(page, 'setup done');
    await s.snap('setup-done');
    await page.getByRole('link', { name: texts.de.setup.done.open }).click();
    await page.getByRole('heading', { name: 'Praxis Dr. Lindner Celle' }).waitFor();
  },

  async 'a serial that is there already leads to its system'(s) {
    s.expected = [/status of 409/];
    const page = await s.signIn(people.en);
    await s.loaded(page);
    const [known] = s.mock.systems.values();
    assert.ok(known);
    await page.getByRole('link', { name: 'Add a PBX' }).click();
    await page.fill('input[inputmode=numeric]', known.serial);
    await page.getByLabel('Name').fill('Again');
    await page.click('button[type=submit]');
    await page.getByText(texts.en.problem.serial_taken_by_you).waitFor();
    await page.getByRole('link', { name: `Open ${known.name}` }).click();
    await page.getByRole('heading', { name: known.name }).waitFor();
  },

  async 'tokens expire, are declined, and belong to one person'(s) {
    s.expected = [/status of 403/, /status of 404/];
    const page = await s.signIn(people.en);
    const { id } = await add(s, page, 'Hotel Am Markt Kiel');
    const old = s.mock.offers.get(id);
    assert.ok(old);
    // The page's own clock ends it, before the server says so.
    await page.clock.install();
    s.mock.offers.set(id, { ...old, expires_at: new Date(Date.now() + 35_000).toISOString() });
    await page.reload();
    await page.getByTestId('token').waitFor();
    await page.clock.fastForward(35_000);
    await page.getByRole('heading', { name: texts.en.setup.failure.expired.title }).waitFor();
    await s.snap('expired');
    await s.accessible(page, 'expired');
    await page.getByRole('button', { name: texts.en.setup.renew }).click();
    await page.getByTestId('token').waitFor();
    assert.notEqual(await page.getByTestId('token').textContent(), old.token);

    const other = await s.signIn(people.fr, `/systems/${id}/setup`);
    await other.getByRole('heading', { name: texts.fr.setup.other.title }).waitFor();
    await s.accessible(other, 'another person’s token');
    const viewer = await s.signIn('vera@example.org', `/systems/${id}/setup`);
    await viewer.getByRole('heading', { name: texts.en.setup.viewer.title }).waitFor();
    assert.equal(await viewer.getByRole('button', { name: texts.en.setup.renew }).count(), 0);

    s.page = page;
    s.mock.setState(id, 'declined');
    s.mock.record(id, 'declined', { reason: 'reported' });
    s.mock.emit({ event: 'offer', data: { system_id: id, step: 'declined', detail: 'reported' } });
    await page.getByText(texts.en.givenBack.reported.next).waitFor();
    await s.accessible(page, 'declined');
    await s.snap('declined');
    // Who comes later finds the reason in the history.
    await page.goto(`${s.mock.origin}/systems/${id}`);
    await page.getByText(texts.en.givenBack.reported.next).waitFor();
    await page.getByText(texts.en.givenBack.reported.event).waitFor();
    await s.snap('declined-details');
    await page.getByRole('link', { name: texts.en.hint.again }).click();
    await page.getByText(texts.en.givenBack.reported.next).waitFor();
    for (const code of /** @type {const} */ (['auth', 'taken', 'proof'])) {
      s.mock.setState(id, 'error', { error_code: code });
      await page.getByRole('heading', { name: texts.en.setup.failure[code].title }).waitFor();
    }
    s.mock.systems.delete(id);
    s.mock.emit({ event: 'removed', data: { id } });
    await page.getByText(texts.en.system.gone.title).waitFor();
  },

  async 'details, and two who edit at once'(s) {
    s.expected = [/status of 412/];
    const page = await s.signIn(people.en);
    await s.loaded(page);
    await page.locator('[data-index="4"] a').click();
    await page.getByRole('heading', { name: 'Connection' }).waitFor();
    await page.getByText('Token made').waitFor();
    await s.accessible(page, 'details');
    await s.snap('details');
    const id = page.url().split('/').at(-1) ?? '';
    const before = s.mock.systems.get(id);
    assert.ok(before);
    await page.getByRole('button', { name: 'Edit' }).click();
    await s.accessible(page, 'edit');
    await page.getByRole('textbox', { name: 'Note' }).fill('My note');
    // Somebody else is faster, and this page has not heard of it.
    s.mock.systems.set(id, { ...before, note: 'Their note', version: before.version + 1 });
    await page.getByRole('button', { name: 'Save' }).click();
    await page.getByRole('alert').getByText(texts.en.edit.conflict).waitFor();
    assert.equal(await page.getByRole('textbox', { name: 'Note' }).inputValue(), 'My note');
    await s.accessible(page, 'conflict');
    await page.getByRole('button', { name: 'Save' }).click();
    // The form closes when the server has it.
    await page.getByRole('button', { name: 'Save' }).waitFor({ state: 'detached' });
    await page.getByText('My note').waitFor();
    await page.getByText('Details changed').first().waitFor();
    assert.equal(s.mock.systems.get(id)?.note, 'My note');

    // What the server takes its time for is on the page at once.
    await page.getByRole('button', { name: 'Edit' }).click();
    await page.getByRole('textbox', { name: 'Name' }).fill('Fast name');
    let answer = () => {};
    s.mock.knobs.gate = new Promise((resolve) => {
      answer = resolve;
    });
    await page.getByRole('button', { name: 'Save' }).click();
    await page.getByRole('heading', { name: 'Fast name' }).waitFor();
    assert.equal(s.mock.systems.get(id)?.name, before.name);
    answer();
    await page.getByRole('button', { name: 'Edit' }).and(page.locator(':enabled')).waitFor();
    assert.equal(s.mock.systems.get(id)?.name, 'Fast name');
  },

  async 'removing wants the serial, replacing a new one'(s) {
    const page = await s.signIn(people.en);
    const { id, serial } = await add(s, page, 'Weingut Sturm Trier');
    await page.goto(`${s.mock.origin}/systems/${id}`);
    await page.getByRole('button', { name: 'More actions' }).click();
    await page.getByRole('menuitem', { name: 'Replace device' }).click();
    const dialog = page.getByRole('dialog');
    await dialog.getByRole('textbox').fill(serial);
    await dialog.getByRole('button', { name: 'Get a token' }).click();
    await dialog.getByText(texts.en.replace.same).waitFor();
    await s.accessible(page, 'replace');
    await dialog.getByRole('textbox').fill(newSerial());
    await dialog.getByRole('button', { name: 'Get a token' }).click();
    await page.waitForURL((url) => url.pathname.endsWith('/setup') && !url.pathname.includes(id));
    await page.getByTestId('token').waitFor();

    await page.goto(`${s.mock.origin}/systems/${id}`);
    await page.getByRole('button', { name: 'More actions' }).click();
    await page.getByRole('menuitem', { name: 'Remove system' }).click();
    const remove = dialog.getByRole('button', { name: 'Remove for good' });
    assert.ok(await remove.isDisabled());
    await dialog.getByRole('textbox').fill('0000000000');
    assert.ok(await remove.isDisabled());
    await dialog.getByRole('textbox').fill(serial);
    await s.accessible(page, 'remove');
    await s.snap('remove');
    await remove.click();
    await page.getByText('Weingut Sturm Trier is removed.').waitFor();
    assert.ok(!s.mock.systems.has(id));
  },

  async 'offline: the pages say so, and catch up by themselves'(s) {
    s.expected = [/ERR_INCOMPLETE_CHUNKED/, /status of 503/, /ERR_EMPTY_RESPONSE/, /ERR_CONNECTION/];
    const page = await s.signIn(people.en);
    await s.loaded(page);
    const id = (await page.locator('[data-index="2"] a').getAttribute('href'))?.split('/').at(-1) ?? '';
    const name = s.mock.systems.get(id)?.name ?? '';
    s.mock.knobs.refuseStreams = true;
    s.mock.dropStreams();
    await page.getByRole('alert').getByText(texts.en.live.lost).waitFor();
    await page.getByText(/Next try in \d+ s/).waitFor();
    await s.accessible(page, 'offline');
    await s.snap('offline');
    s.mock.change(id, { name: `${name} (moved)` });
    assert.equal(await page.getByText(`${name} (moved)`).count(), 0);
    s.mock.knobs.refuseStreams = false;
    await page.locator('[data-index="2"]', { hasText: '(moved)' }).waitFor();
    await page.getByRole('alert').waitFor({ state: 'detached' });
    s.mock.change(id, { name });
  },

  async 'the server is away at the start'(s) {
    s.expected = [/status of/, /ERR_/];
    s.mock.knobs.failNext = 'unavailable';
    s.mock.knobs.failures = 1;
    const page = await s.open('/');
    await page.getByText(texts.en.problem.unavailable).waitFor();
    await s.accessible(page, 'failure');
    await s.snap('failure');
    await page.getByRole('button', { name: 'Try again' }).click();
    await page.getByRole('button', { name: 'Sign in' }).waitFor();
  },

  async 'a session that ends leads to the sign-in and back'(s) {
    s.expected = [/status of 401/, /ERR_INCOMPLETE_CHUNKED/];
    const page = await s.signIn(people.en, '/?q=praxis');
    await page.getByText(/systems? found/).waitFor();
    s.mock.endSessions();
    s.mock.dropStreams();
    await page.getByText(texts.en.signIn.ended).waitFor();
    await page.fill('input[type=email]', people.en);
    await page.fill('input[type=password]', 'correct horse battery');
    await page.keyboard.press('Enter');
    await page.waitForURL(/q=praxis/);
    await page.getByRole('button', { name: /Account/ }).click();
    await page.getByRole('menuitem', { name: 'Sign out' }).click();
    await page.getByRole('button', { name: 'Sign in' }).waitFor();
    await page.goBack();
    await page.waitForURL(/sign-in/);
  },

  async 'account: language, appearance, password'(s) {
    s.expected = [/status of 403/, /status of 422/];
    const page = await s.signIn(people.en);
    await s.loaded(page);
    await page.getByRole('button', { name: /Account/ }).click();
    await page.getByRole('menuitem', { name: 'Sign out' }).waitFor();
    await s.accessible(page, 'account menu');
    await s.snap('account');
    await page.getByRole('menuitem', { name: 'Dark' }).click();
    await page.locator('html[data-mantine-color-scheme=dark]').waitFor();
    await page.getByRole('button', { name: /Account/ }).click();
    await page.getByRole('menuitem', { name: 'Deutsch' }).click();
    await page.getByRole('heading', { name: 'Anlagen' }).waitFor();
    assert.equal(s.mock.user(people.en).language, 'de');
    await page.reload();
    await page.getByRole('heading', { name: 'Anlagen' }).waitFor();
    assert.equal(await page.evaluate(() => document.documentElement.dataset.mantineColorScheme), 'dark');
    await page.getByRole('button', { name: /Konto/ }).click();
    await page.getByRole('menuitem', { name: 'English' }).click();
    await page.getByRole('heading', { name: 'Systems' }).waitFor();

    await page.getByRole('button', { name: /Account/ }).click();
    await page.getByRole('menuitem', { name: 'Change password' }).click();
    const dialog = page.getByRole('dialog');
    await dialog.getByLabel('Current password').fill('not it');
    await dialog.getByLabel('New password', { exact: true }).fill('short');
    await dialog.getByRole('button', { name: 'Save' }).click();
    await dialog.getByText('At least 12 characters.', { exact: true }).waitFor();
    await dialog.getByText(texts.en.password.differs).waitFor();
    await s.accessible(page, 'password');
    await dialog.getByLabel('New password', { exact: true }).fill('aaaaaaaaaaaa');
    await dialog.getByLabel('New password again').fill('aaaaaaaaaaaa');
    await dialog.getByRole('button', { name: 'Save' }).click();
    await dialog.getByText(texts.en.problem.wrong_password).waitFor();
    await dialog.getByLabel('Current password').fill('correct horse battery');
    await dialog.getByRole('button', { name: 'Save' }).click();
    await dialog.getByText(texts.en.field.weak).waitFor();
    await dialog.getByLabel('New password', { exact: true }).fill('several good words');
    await dialog.getByLabel('New password again').fill('several good words');
    await dialog.getByRole('button', { name: 'Save' }).click();
    await page.getByText(texts.en.password.done).waitFor();
  },

  async 'groups are made and removed'(s) {
    const page = await s.signIn(people.en);
    await s.loaded(page);
    await page.getByRole('button', { name: 'Filter' }).click();
    await page.getByRole('button', { name: 'Manage groups' }).click();
    const dialog = page.getByRole('dialog', { name: 'Groups' });
    await dialog.getByRole('textbox').fill('Harz');
    await page.keyboard.press('Enter');
    await dialog.getByText('Harz').waitFor();
    await s.accessible(page, 'groups');
    await dialog.getByRole('button', { name: 'Remove group Harz' }).click();
    await dialog.getByRole('button', { name: texts.en.groups.confirm }).click();
    await dialog.getByText('Harz').waitFor({ state: 'detached' });
  },

  async 'the first system'(s) {
    for (const [scheme, width] of /** @type {const} */ ([
      ['light', 1280],
      ['dark', 390],
    ])) {
      const page = await s.signIn(people.de, '/', { origin: s.empty.origin, scheme, width });
      await page.getByRole('heading', { name: texts.de.empty.title }).waitFor();
      await s.accessible(page, `empty ${scheme}`);
      await s.fits(page);
      await s.snap(`empty-${scheme}`);
    }
  },

  async 'a name for each host'(s) {
    const page = await s.signIn(people.fr, '/', { origin: `http://fontevo.localhost:${s.mock.port}` });
    await s.loaded(page);
    await page.getByText('FONtevo').waitFor();
    assert.equal(await page.title(), 'Systèmes · FONtevo Control Center');
    await s.accessible(page, 'fontevo');
    await page.mouse.move(0, 0);
    await s.snap('fontevo-fr');
  },

  ...remoteChecks,
  ...historyChecks,
  ...organisationChecks,
  ...rolloutChecks,
  ...firmwareChecks,
  ...areaChecks,

  'every page in German': (s) => everyPage(s, 'de'),
  'every page in English': (s) => everyPage(s, 'en'),
  'every page in French': (s) => everyPage(s, 'fr'),

  async 'smooth with ten thousand rows'(s) {
    const page = await s.signIn(people.en);
    await s.loaded(page);
    s.figures.scrolling = await scrolling(page);
    s.mock.knobs.churn = 50;
    s.figures.scrollingLive = await scrolling(page);
    s.figures.typing = await typing(page, 'praxis dr lindner');
    s.mock.knobs.churn = 0;
  },
};
