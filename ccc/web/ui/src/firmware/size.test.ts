// @vitest-environment jsdom
import { expect, it } from 'vitest';
import { sizeText } from './size';

it('says how large an image is', () => {
  expect(sizeText(0, 'en')).toBe('0 MB');
  expect(sizeText(1_500_000, 'en')).toBe('1.5 MB');
  expect(sizeText(1_500_000, 'de')).toMatch(/^1,5.MB$/);
  expect(sizeText(123_456_789, 'en')).toBe('123 MB');
});
