import { describe, expect, it } from 'vitest';
import type { FleetSearch } from './fleetSearch';
import { fieldsOf, searchOf } from './savedSearch';

describe('saved filters', () => {
  it('come back as they were kept', () => {
    const all: FleetSearch[] = [
      {},
      { q: 'büro', status: 'online', group: 'g', site: 's', tags: ['a', 'b'], sort: '-since' },
      { status: 'offline', sort: 'since' },
      { status: 'offline', reason: 'power' },
      { reason: 'certificate_expired', sort: 'name' },
      { status: 'setup', sort: 'serial' },
      { status: 'attention', sort: '-name' },
      { sort: '-created' },
    ];
    for (const search of all) expect(searchOf(fieldsOf(search))).toEqual(search);
  });

  it('are what the API understands', () => {
    expect(fieldsOf({ status: 'offline', sort: 'since', tags: ['a'] })).toEqual({
      state: ['paired'],
      online: false,
      sort: '-state_since',
      tag: ['a'],
    });
    expect(fieldsOf({ reason: 'power' })).toEqual({ offline_reason: 'power' });
    expect(searchOf({ state: ['left'], offline_reason: 'bad_weather' })).toEqual({});
  });
});
