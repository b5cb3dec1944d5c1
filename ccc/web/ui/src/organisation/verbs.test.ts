import { readFileSync } from 'node:fs';
import { expect, it } from 'vitest';
import de from '../i18n/de/organisation.json';
import en from '../i18n/en/organisation.json';
import fr from '../i18n/fr/organisation.json';

const table = readFileSync(new URL('../../../../access/roles.md', import.meta.url), 'utf8');
const verbs = [...table.matchAll(/^\| `([a-z_.]+)`/gm)].map(([, verb]) => verb ?? '');

it('says in each language what each verb means', () => {
  expect(verbs.length).toBeGreaterThan(20);
  for (const { verb: texts } of [de, en, fr]) {
    for (const verb of verbs) {
      const [area = '', what = ''] = verb.split('.');
      expect((texts as Record<string, Record<string, string>>)[area]?.[what], verb).toBeTruthy();
    }
  }
});
