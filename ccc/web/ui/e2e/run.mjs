// Looks at the built pages in a browser, against the mock server: npm run build first.
// It is skipped where there is no Chromium. Screenshots and figures go to e2e/out.
import { existsSync } from 'node:fs';
import { mkdir, writeFile } from 'node:fs/promises';
import { availableParallelism } from 'node:os';
import { chromiumPath, launch } from './browser.mjs';
import { alone, checks, large } from './checks.mjs';
import { startMock } from './mock.mjs';
import { Session } from './session.mjs';

if (!chromiumPath) {
  console.log('SKIP: no Chromium (apt-get install chromium, or CHROMIUM=/path/to/it)');
  process.exit(0);
}
if (!existsSync(new URL('../dist/index.html', import.meta.url))) {
  console.error('no dist; run npm run build first');
  process.exit(1);
}

const out = new URL('out/', import.meta.url);
await mkdir(out, { recursive: true });
const only = process.argv.slice(2);
const wanted = Object.keys(checks).filter((name) => only.length === 0 || only.some((word) => name.includes(word)));
const browser = await launch();
/** @type {Record<string, unknown>} */
const figures = {};
let failed = 0;

/** One check with servers of its own, so that others can run beside it. @param {string} name */
async function run(name) {
  const mock = await startMock({ systems: large.has(name) ? 10_000 : 400 });
  const empty = await startMock({ systems: 0 });
  const session = new Session(browser, mock, empty, out, figures);
  const start = Date.now();
  try {
    await checks[name]?.(session);
    session.clean();
    console.log(`ok    ${name} (${((Date.now() - start) / 1000).toFixed(1)} s)`);
  } catch (thrown) {
    failed++;
    console.log(`FAIL  ${name}\n${thrown instanceof Error ? thrown.stack : thrown}`);
    await session.snap(`failed-${name.replace(/\W+/g, '-')}`).catch(() => {});
  }
  await session.close();
  await mock.close();
  await empty.close();
}

const started = Date.now();
// The longest begin first, so that none is left over at the end.
const together = wanted.filter((name) => !alone.has(name)).reverse();
const next = async () => {
  for (let name = together.shift(); name; name = together.shift()) await run(name);
};
await Promise.all(Array.from({ length: Number(process.env.JOBS ?? Math.min(4, availableParallelism() + 1)) }, next));
for (const name of wanted.filter((n) => alone.has(n))) await run(name);
await browser.close();
await writeFile(new URL('figures.json', out), `${JSON.stringify(figures, null, 2)}\n`);
if (Object.keys(figures).length > 0) console.log(JSON.stringify(figures, null, 2));
console.log(`${failed > 0 ? `${failed} failed` : 'all passed'} in ${Math.round((Date.now() - started) / 1000)} s`);
process.exit(failed > 0 ? 1 : 0);
