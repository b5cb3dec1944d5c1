import { useMemo } from 'react';
import {
  countKinds,
  type Filter,
  followsPresence,
  matcher,
  reasonCounts,
  type Sort,
  sorted,
  tagCounts,
} from './select';
import type { Kind } from './status';
import { fleet, useFleet } from './store';

/** The ids of the systems that fit a filter, in order. */
export function useRows(filter: Filter, sort: Sort): readonly string[] {
  const { structure, presence } = useFleet();
  // Sorting is the slow part, and most changes do not move a row.
  const sortPresence = followsPresence(sort, { text: '', tags: [] }) ? presence : 0;
  const { key, descending } = sort;
  // biome-ignore lint/correctness/useExhaustiveDependencies: the store is read again when its counters rise
  const order = useMemo(
    () => sorted(fleet.all(), { key, descending }).map((s) => s.id),
    [key, descending, structure, sortPresence],
  );
  const filterPresence = followsPresence(sort, filter) ? presence : 0;
  // biome-ignore lint/correctness/useExhaustiveDependencies: as above
  return useMemo(() => {
    const fits = matcher(filter);
    return order.filter((id) => {
      const system = fleet.get(id);
      return system !== undefined && fits(system);
    });
  }, [order, filter, filterPresence]);
}

/** How many systems there are of each kind. */
export function useKindCounts(): Record<Kind, number> {
  const { structure, presence } = useFleet();
  // biome-ignore lint/correctness/useExhaustiveDependencies: as above
  return useMemo(() => countKinds(fleet.all()), [structure, presence]);
}

/** Why systems are offline, with how many are so. */
export function useReasonsInUse(): ReturnType<typeof reasonCounts> {
  const { structure, presence } = useFleet();
  // biome-ignore lint/correctness/useExhaustiveDependencies: as above
  return useMemo(() => reasonCounts(fleet.all()), [structure, presence]);
}

/** The tags in use, with how often. */
export function useTagCounts(): { name: string; count: number }[] {
  const { structure } = useFleet();
  // biome-ignore lint/correctness/useExhaustiveDependencies: as above
  return useMemo(() => tagCounts(fleet.all()), [structure]);
}
