// @vitest-environment jsdom
import { describe, expect, it } from 'vitest';
import type { RemoteSession } from '../api/types';
import { bytes } from './bytes';
import { csvOf, field } from './csv';

describe('a field', () => {
  it.each([
    ['plain', 'plain'],
    ['a,b', '"a,b"'],
    ['say "no"', '"say ""no"""'],
    ['two\nlines', '"two\nlines"'],
    ['=1+1', "'=1+1"],
    ['  =cmd|x', "'  =cmd|x"],
    ['+49 531', "'+49 531"],
    ['-1', "'-1"],
    ['@sum', "'@sum"],
    ['x;=1+cmd', "x;'=1+cmd"],
    ['x; =1', "x; '=1"],
    ['2026-03-01T10:00:00Z', '2026-03-01T10:00:00Z'],
    ['', ''],
  ])('%j', (value, want) => expect(field(value)).toBe(want));
});

it('has a line for each record', () => {
  const record: RemoteSession = {
    id: 'r-1',
    system_id: 's-1',
    serial: '0123456789',
    user: { id: 'u-1', name: 'Berger, Anna' },
    own: true,
    reason: '=danger',
    minutes: 60,
    service: 'web',
    state: 'ended',
    cause: 'time',
    requested_at: '2026-03-01T10:00:00Z',
    expires_at: '2026-03-01T10:15:00Z',
    confirmed: true,
    bytes_in: 5,
    bytes_out: 0,
  };
  const lines = csvOf([record]).split('\r\n');
  expect(lines[0]).toMatch(/^\ufeffid,serial,/);
  expect(lines[1]).toBe(`r-1,0123456789,s-1,"Berger, Anna",'=danger,web,,60,ended,time,,2026-03-01T10:00:00Z,,,5,0`);
  expect(lines).toHaveLength(3);
});

it('tells bytes as people do', () => {
  expect(bytes(0, 'de')).toMatch(/^0\sByte$/i);
  expect(bytes(1500, 'de')).toMatch(/^1,5\skB$/);
  expect(bytes(52_428_800, 'en')).toMatch(/^52\sMB$/);
});
