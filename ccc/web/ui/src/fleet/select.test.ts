import { describe, expect, it } from 'vitest';
import type { System } from '../api/types';
import { countKinds, type Filter, followsPresence, matcher, reasonCounts, sorted, tagCounts } from './select';
import { testSystem } from './testing';

const north = { id: 'g-1', name: 'Nord' };
const systems: System[] = [
  testSystem({ id: '1', serial: '1111122222', name: 'Praxis 10', tags: ['pilot'] }),
  testSystem({
    id: '2',
    serial: '1111133333',
    name: 'praxis 9',
    groups: [north],
    online: false,
    last_seen_at: '2026-03-01T08:00:00Z',
    offline_reason: 'power',
  }),
  testSystem({
    id: '3',
    serial: '9999900000',
    name: 'Bäckerei',
    note: 'Schlüssel beim Hausmeister',
    tags: ['pilot', 'isdn'],
  }),
  testSystem({ id: '4', serial: '5555500000', name: 'Zoo', state: 'error', error_code: 'auth', online: false }),
];
const none: Filter = { text: '', tags: [] };
const ids = (list: System[]) => list.map((s) => s.id).join('');
const found = (filter: Partial<Filter>) => ids(systems.filter(matcher({ ...none, ...filter })));

describe('matcher', () => {
  it.each([
    [{}, '1234'],
    [{ text: 'praxis' }, '12'],
    [{ text: 'PRAXIS 9' }, '2'],
    [{ text: 'backerei' }, '3'],
    [{ text: 'hausmeister schlussel' }, '3'],
    [{ text: 'nord' }, '2'],
    [{ text: 'isdn' }, '3'],
    [{ text: '1111' }, '12'],
    [{ text: '11111 33333' }, '2'],
    [{ text: '11111-3' }, '2'],
    [{ text: 'praxis zoo' }, ''],
    [{ kind: 'online' as const }, '13'],
    [{ kind: 'offline' as const }, '2'],
    [{ kind: 'attention' as const }, '4'],
    [{ kind: 'setup' as const }, ''],
    [{ reason: 'power' as const }, '2'],
    [{ reason: 'network' as const }, ''],
    [{ group: 'g-1' }, '2'],
    [{ group: 'g-9' }, ''],
    [{ tags: ['pilot'] }, '13'],
    [{ tags: ['pilot', 'isdn'] }, '3'],
    [{ tags: ['pilot'], text: 'praxis' }, '1'],
  ])('%j', (filter, want) => expect(found(filter)).toBe(want));
});

describe('sorted', () => {
  it.each([
    ['name', false, '3214'],
    ['name', true, '4123'],
    ['serial', false, '1243'],
    ['status', false, '3124'],
    ['status', true, '4231'],
  ] as const)('by %s, descending %s', (key, descending, want) =>
    expect(ids(sorted(systems, { key, descending }))).toBe(want),
  );

  it('changes nothing', () => {
    const before = ids(systems);
    sorted(systems, { key: 'name', descending: true });
    expect(ids(systems)).toBe(before);
  });
});

it('counts', () => {
  expect(countKinds(systems)).toEqual({ online: 2, offline: 1, setup: 0, attention: 1 });
  expect(reasonCounts(systems)).toEqual([{ reason: 'power', count: 1 }]);
  expect(tagCounts(systems)).toEqual([
    { name: 'isdn', count: 1 },
    { name: 'pilot', count: 2 },
  ]);
});

it('knows what moves when a system comes online', () => {
  expect(followsPresence({ key: 'name', descending: false }, none)).toBe(false);
  expect(followsPresence({ key: 'status', descending: false }, none)).toBe(true);
  expect(followsPresence({ key: 'name', descending: false }, { ...none, kind: 'offline' })).toBe(true);
  expect(followsPresence({ key: 'name', descending: false }, { ...none, reason: 'power' })).toBe(true);
});
