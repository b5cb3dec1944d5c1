import { expect, it } from 'vitest';
import { parseNewRolloutSearch } from './search';

it('takes from an address what a rollout can begin with', () => {
  const search = { kind: 'firmware', firmware: 'fw-1', system: 's-1' } as const;
  expect(parseNewRolloutSearch(search)).toEqual(search);
  expect(parseNewRolloutSearch({ kind: 'toString', firmware: 7, system: 'a b' })).toEqual({});
});
