// How smooth the table is, as the browser itself tells.

/** @typedef {import('playwright-core').Page} Page */

/**
 * Scrolls from the top to the bottom, a screen of rows each frame, and looks in each
 * frame whether there are rows in the middle of the window.
 * @param {Page} page
 */
export async function scrolling(page) {
  await page.evaluate(() => window.scrollTo(0, 0));
  const devtools = await page.context().newCDPSession(page);
  await devtools.send('Performance.enable', { timeDomain: 'threadTicks' });
  const spent = async () => {
    const { metrics } = await devtools.send('Performance.getMetrics');
    return Object.fromEntries(metrics.map(({ name, value }) => [name, value]));
  };
  const before = await spent();
  const seen = await watched(page);
  const after = await spent();
  const each = (/** @type {string} */ name) =>
    Math.round((((after[name] ?? 0) - (before[name] ?? 0)) / seen.frames) * 10_000) / 10;
  // What the page itself takes on its thread for each frame; the rest is the machine.
  const cpuMs = {
    script: each('ScriptDuration'),
    style: each('RecalcStyleDuration'),
    layout: each('LayoutDuration'),
    all: each('TaskDuration'),
  };
  return { ...seen, cpuMsPerFrame: cpuMs };
}

/** @param {Page} page */
function watched(page) {
  return page.evaluate(async () => {
    const frames = /** @type {number[]} */ ([]);
    let blank = 0;
    let most = 0;
    let last = await new Promise((r) => requestAnimationFrame(r));
    const end = document.documentElement.scrollHeight - window.innerHeight;
    for (let y = 0; y < end; y += 700) {
      window.scrollTo(0, y);
      const at = await new Promise((r) => requestAnimationFrame(r));
      frames.push(at - last);
      last = at;
      const middle = document.elementFromPoint(window.innerWidth / 2, window.innerHeight * 0.6);
      if (!middle?.closest('[data-index]')) blank++;
      most = Math.max(most, document.querySelectorAll('[data-index]').length);
    }
    frames.sort((a, b) => a - b);
    const at = (/** @type {number} */ p) => Math.round((frames[Math.floor(frames.length * p)] ?? 0) * 10) / 10;
    return {
      frames: frames.length,
      medianMs: at(0.5),
      p95Ms: at(0.95),
      p99Ms: at(0.99),
      over50ms: frames.filter((f) => f > 50).length,
      blankFrames: blank,
      mostRows: most,
    };
  });
}

/**
 * Types into the search field and takes the time from each key to the next paint, as the
 * browser measures it (Event Timing, in steps of 8 ms).
 * @param {Page} page @param {string} text
 */
export async function typing(page, text) {
  await page.evaluate(() => {
    const durations = /** @type {number[]} */ ([]);
    Object.assign(window, { durations });
    new PerformanceObserver((list) => {
      for (const e of list.getEntries())
        if (e.name === 'keydown' || e.name === 'keypress' || e.name === 'input') durations.push(e.duration);
    }).observe(/** @type {any} */ ({ type: 'event', durationThreshold: 16, buffered: false }));
  });
  await page.locator('input[type=search]').pressSequentially(text, { delay: 90 });
  await page.getByText(/systems? found/).waitFor();
  return page.evaluate((keys) => {
    // Keys that took less than 16 ms are not told of.
    const all = /** @type {{ durations: number[] }} */ (/** @type {unknown} */ (window)).durations.sort(
      (a, b) => a - b,
    );
    return {
      keys,
      slowerThan16ms: all.length,
      medianOfThoseMs: all[Math.floor(all.length / 2)] ?? 0,
      worstMs: all.at(-1) ?? 0,
    };
  }, text.length);
}
