import { describe, expect, it } from 'vitest';
import { compareLanguages, unusedKeys } from './i18n.mjs';

const good = {
  de: { a: { b: 'Hallo {{name}}' }, n_one: 'eine', n_other: '{{count}} Anlagen' },
  en: { a: { b: 'Hello {{name}}' }, n_one: 'one', n_other: '{{count}} systems' },
  fr: { a: { b: 'Bonjour {{name}}' }, n_one: 'un', n_many: '{{count}} de systèmes', n_other: '{{count}} systèmes' },
};

describe('compareLanguages', () => {
  it('accepts complete languages', () => expect(compareLanguages(good)).toEqual([]));

  it.each([
    ['a missing key', { ...good, fr: { ...good.fr, a: {} } }, 'fr: a.b is missing'],
    ['a key that one alone has', { ...good, de: { ...good.de, c: 'nur hier' } }, 'en: c is missing'],
    [
      'a missing plural form',
      { ...good, fr: { a: good.fr.a, n_one: 'un', n_other: '{{count}}' } },
      'fr: n_many is missing',
    ],
    ['a plural form too many', { ...good, de: { ...good.de, n_many: '{{count}}' } }, 'de: n_many is a plural form'],
    ['other placeholders', { ...good, en: { ...good.en, a: { b: 'Hello {{nam}}' } } }, 'en: a.b has the placeholders'],
    ['a lost placeholder', { ...good, fr: { ...good.fr, a: { b: 'Bonjour' } } }, 'fr: a.b has the placeholders'],
    ['other tags', { ...good, en: { ...good.en, a: { b: 'Hello <b>{{name}}</b>' } } }, 'de: a.b has the placeholders'],
    ['an empty text', { ...good, de: { ...good.de, n_one: ' ' } }, 'de: n_one is empty'],
  ])('refuses %s', (_, languages, want) => {
    expect(compareLanguages(languages).join('\n')).toContain(want);
  });
});

describe('unusedKeys', () => {
  const keys = ['page.title', 'page.n_one', 'page.n_other', 'problem.network', 'problem.state'];
  const source = (/** @type {string} */ text) => [{ name: 'a.tsx', text }];

  it('finds what is used as a string, with a count, and by a template', () => {
    expect(unusedKeys(keys, source("t('page.title'); t('page.n', { count }); t(`problem.${code}`)"))).toEqual([]);
  });
  it('tells what is not', () => {
    expect(unusedKeys(keys, source("t('page.title'); t('problem.network') // page.n"))).toEqual([
      'page.n_one',
      'page.n_other',
      'problem.state',
    ]);
  });
});
