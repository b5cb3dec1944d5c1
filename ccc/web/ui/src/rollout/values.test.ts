import { expect, test } from 'vitest';
import type { SettingKey } from './queries';
import { changesOf, countOf, parseValue, textOf } from './values';

const key = (name: string, type: SettingKey['type']): SettingKey => ({
  key: name,
  type,
  restart_needed: false,
  labels: {},
});

test('what is typed is a value of its type, or none', () => {
  expect(parseValue('integer', ' 15 ')).toBe(15);
  expect(parseValue('integer', '1.5')).toBeUndefined();
  expect(parseValue('list', 'a, b,,c')).toEqual(['a', 'b', 'c']);
  expect(parseValue('boolean', 'true')).toBe(true);
  expect(parseValue('boolean', 'on')).toBeUndefined();
  expect(textOf(['a', 'b'])).toBe('a, b');
});

test('only what is another value is changed', () => {
  const schema = [key('a', 'string'), key('b', 'integer'), key('c', 'list'), key('d', 'integer')];
  const before = { a: 'x', b: 1, c: ['p'], d: 2 };
  expect(changesOf(schema, before, { a: 'x', b: '2', c: 'p', d: '?' })).toEqual({ values: { b: 2 }, bad: ['d'] });
});

test('systems are counted over the rings', () => {
  expect(countOf([{ states: { done: 2, failed: 1 } }, { states: { done: 3 } }], 'done', 'failed')).toBe(6);
});
