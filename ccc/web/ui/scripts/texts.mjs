// Reads the texts of the pages for scripts, as src/i18n puts them together.
import { readdir, readFile } from 'node:fs/promises';

const folder = new URL('../src/i18n/', import.meta.url);

/**
 * The texts of a language: those of base.json, and each further file under its name.
 * @param {string} language @returns {Promise<any>}
 */
export async function texts(language) {
  const all = {};
  for (const name of await readdir(new URL(`${language}/`, folder))) {
    if (!name.endsWith('.json')) continue;
    const part = JSON.parse(await readFile(new URL(`${language}/${name}`, folder), 'utf8'));
    Object.assign(all, name === 'base.json' ? part : { [name.slice(0, -'.json'.length)]: part });
  }
  return all;
}
