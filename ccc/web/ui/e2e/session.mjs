import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { password } from './mock.mjs';

/**
 * @typedef {import('playwright-core').Browser} Browser
 * @typedef {import('playwright-core').Page} Page
 * @typedef {Awaited<ReturnType<typeof import('./mock.mjs').startMock>>} Mock
 * @typedef {{ width?: number, height?: number, scheme?: 'light' | 'dark', scale?: number, origin?: string, locale?: string }} View
 */

const axe = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');

/** What one check does in browser windows of its own; it notes all that a page complains of. */
export class Session {
  /** @type {string[]} */
  complaints = [];
  /** Complaints that belong to the check. @type {RegExp[]} */
  expected = [];
  /** @type {import('playwright-core').BrowserContext[]} */
  contexts = [];

  /** @param {Browser} browser @param {Mock} mock @param {Mock} empty @param {URL} out @param {Record<string, unknown>} figures */
  constructor(browser, mock, empty, out, figures) {
    this.browser = browser;
    this.mock = mock;
    this.empty = empty;
    this.out = out;
    this.figures = figures;
  }

  /** Opens a window. @param {string} path @param {View} [view] */
  async open(
    path,
    { width = 1280, height = 800, scheme = 'light', scale = 1, origin = this.mock.origin, locale = 'en-GB' } = {},
  ) {
    const context = await this.browser.newContext({
      viewport: { width, height },
      colorScheme: scheme,
      deviceScaleFactor: scale,
      locale,
      timezoneId: 'Europe/Berlin',
    });
    this.contexts.push(context);
    context.setDefaultTimeout(60_000);
    await context.grantPermissions(['clipboard-read', 'clipboard-write'], { origin });
    const page = await context.newPage();
    this.page = page;
    page.on('pageerror', (error) => this.complaints.push(`error: ${error.message}`));
    page.on('console', (message) => {
      if (message.type() === 'error' || message.type() === 'warning')
        this.complaints.push(`console: ${message.text()}`);
    });
    page.on('request', (request) => {
      if (new URL(request.url()).host !== new URL(origin).host)
        this.complaints.push(`foreign request: ${request.url()}`);
    });
    await page.goto(origin + path);
    return page;
  }

  /** Opens a window and signs in. @param {string} email @param {string} [path] @param {View} [view] */
  async signIn(email, path = '/', view = {}) {
    // How the page finds out that nobody is signed in yet.
    this.expected.push(/status of 401/);
    const page = await this.open(path, view);
    await page.waitForURL(/sign-in/);
    await page.fill('input[type=email]', email);
    await page.fill('input[type=password]', password);
    await page.click('button[type=submit]');
    await page.waitForURL((url) => !url.pathname.startsWith('/sign-in'));
    return page;
  }

  /** Waits until the table has all systems. @param {Page} page */
  async loaded(page) {
    await page.locator('[role=row][data-index]').first().waitFor();
    await page.waitForFunction(() => /^\s*$/.test(document.querySelector('p[role=status]')?.textContent ?? 'x'));
  }

  /** Fails where axe finds something, by all its rules or by some. @param {Page} page @param {string} where @param {string[]} [rules] */
  async accessible(page, where, rules) {
    // Colours on their way from one to another are no fault.
    await page.evaluate(() => {
      const ends = document
        .getAnimations()
        .filter((a) => Number.isFinite(Number(a.effect?.getComputedTiming().endTime)));
      return Promise.all(ends.map((a) => a.finished.catch(() => undefined)));
    });
    // By the debugger's way, which the page's policy does not bind.
    if (!(await page.evaluate(() => 'axe' in globalThis))) await page.evaluate(axe);
    const found = await page.evaluate(async (only) => {
      // @ts-expect-error axe comes from the script above
      const result = await globalThis.axe.run(document, {
        resultTypes: ['violations'],
        ...(only && { runOnly: { type: 'rule', values: only } }),
      });
      return result.violations.map(
        (/** @type {any} */ v) =>
          `${v.id}: ${v.help}\n${v.nodes.map((/** @type {any} */ n) => `    ${n.html}\n      ${n.failureSummary}`).join('\n')}`,
      );
    }, rules);
    if (found.length > 0) throw new Error(`axe on ${where}:\n${found.join('\n')}`);
  }

  /** Shows the page in another window; waits until it is drawn anew. @param {Page} page @param {View} view */
  async show(page, { width = 1280, height = 800, scheme = 'light' }) {
    await page.setViewportSize({ width, height });
    await page.emulateMedia({ colorScheme: scheme });
    await page.locator(`html[data-mantine-color-scheme=${scheme}]`).waitFor({ state: 'attached' });
    await page.evaluate(
      () => new Promise((drawn) => requestAnimationFrame(() => requestAnimationFrame(() => drawn(undefined)))),
    );
  }

  /** Fails where the page is wider than the window. @param {Page} page */
  async fits(page) {
    const [content, window_] = await page.evaluate(() => [document.documentElement.scrollWidth, window.innerWidth]);
    assert.ok((content ?? 0) <= (window_ ?? 0), `the page is ${content} wide, the window ${window_}`);
  }

  /** @param {string} name @param {{ fullPage?: boolean }} [options] */
  async snap(name, options = {}) {
    await this.page?.screenshot({
      path: new URL(`${name}.png`, this.out).pathname,
      animations: 'disabled',
      ...options,
    });
  }

  /** Fails where a page complained. */
  clean() {
    const rest = this.complaints.filter((text) => !this.expected.some((pattern) => pattern.test(text)));
    assert.deepEqual(rest, []);
  }

  async close() {
    for (const context of this.contexts) await context.close();
  }
}
