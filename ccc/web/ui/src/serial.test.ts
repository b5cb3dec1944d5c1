import { expect, it } from 'vitest';
import { groupedSerial, isSerial, normalSerial } from './serial';

it.each([
  ['0123456789', true, '01234 56789'],
  [' 01234 56789 ', true, '01234 56789'],
  ['0123-456.789', true, '01234 56789'],
  ['012345678', false, '01234 5678'],
  ['01234567890', false, '01234 56789 0'],
  ['O123456789', false, 'O1234 56789'],
  ['', false, ''],
])('%j', (typed, valid, grouped) => {
  expect(isSerial(typed)).toBe(valid);
  expect(groupedSerial(typed)).toBe(grouped);
  expect(normalSerial(grouped)).toBe(normalSerial(typed));
});
