import { expect, test } from 'vitest';
import { parseLines, textOfLines } from './lines';

test('lines are settings, and settings lines', () => {
  const settings = {
    ntp_server: 'pool.ntp.org',
    music_on_hold: true,
    interval: 15,
    dns: ['192.0.2.1'],
    empty: '',
    number: '15',
  };
  const text = textOfLines(settings);
  expect(text).toContain('ntp_server = pool.ntp.org');
  expect(parseLines(text)).toEqual({ values: settings, wrong: 0 });
});

test('the first line that is no setting is named', () => {
  expect(parseLines('a = 1\n\nB = 2\nc')).toEqual({ values: { a: 1 }, wrong: 3 });
  expect(parseLines('a = 1\na = 2').wrong).toBe(2);
  expect(parseLines('a = 1.5').wrong).toBe(1);
  expect(parseLines('a = {"b":1}').wrong).toBe(1);
});
