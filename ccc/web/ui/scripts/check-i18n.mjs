// Fails where a text is missing in a language, has other placeholders than in the others,
// or is used by nothing. That every key in the sources exists is what tsc checks.
import { readdir, readFile } from 'node:fs/promises';
import { compareLanguages, flatten, unusedKeys } from './i18n.mjs';
import { texts } from './texts.mjs';

const src = new URL('../src/', import.meta.url);
/** @param {string} path */
const read = (path) => readFile(new URL(path, src), 'utf8');

const languages = Object.fromEntries(await Promise.all(['de', 'en', 'fr'].map(async (l) => [l, await texts(l)])));
const names = (await readdir(src, { recursive: true })).filter(
  (n) => /\.tsx?$/.test(n) && !/\.test\.tsx?$|generated/.test(n),
);
const sources = await Promise.all(names.map(async (name) => ({ name, text: await read(name) })));

const faults = [
  ...compareLanguages(languages),
  ...unusedKeys(flatten(languages.en).keys(), sources).map((key) => `${key} is used by nothing`),
];
if (faults.length > 0) {
  console.error(faults.join('\n'));
  console.error(`\n${faults.length} faults in the texts of src/i18n`);
  process.exit(1);
}
