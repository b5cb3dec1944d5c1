import { keepPreviousData, useQuery } from '@tanstack/react-query';
import { api, call } from '../api/client';
import { limits } from '../api/generated/limits';
import type { HistoryInterval, System } from '../api/types';
import { serverNow } from '../time/clock';

export const ranges = { day: 1, week: 7, month: 30 } as const;
export type Range = keyof typeof ranges;

/** How many pages are read at most; what is older is not shown. */
const pages = 5;

/** The intervals of a system in the last days, the newest first. */
export function useHistory(system: System, range: Range) {
  return useQuery({
    // Anew whenever the system comes, goes, or is offline for another reason.
    queryKey: ['history', system.id, range, system.online, system.offline_reason ?? ''],
    queryFn: async ({ signal }) => {
      const to = serverNow();
      const from = to - ranges[range] * 86_400_000;
      const read = (cursor?: string) =>
        call(
          api.GET('/systems/{id}/history', {
            params: {
              path: { id: system.id },
              query: {
                from: new Date(from).toISOString(),
                to: new Date(to).toISOString(),
                limit: limits.page,
                ...(cursor && { cursor }),
              },
            },
            signal,
          }),
        );
      const first = await read();
      const items: HistoryInterval[] = [...first.items];
      let next = first.next;
      for (let page = 1; next && page < pages; page++) {
        const more = await read(next);
        items.push(...more.items);
        next = more.next;
      }
      return { ...first, items, fromMs: from, toMs: to };
    },
    placeholderData: keepPreviousData,
    staleTime: 15_000,
    refetchInterval: 60_000,
  });
}

export type History = NonNullable<ReturnType<typeof useHistory>['data']>;

/** Why systems are offline, now and in the last day. */
export function useReasonCounts() {
  return useQuery({
    queryKey: ['history', 'summary'],
    queryFn: ({ signal }) => call(api.GET('/history/summary', { signal })),
    staleTime: 15_000,
    refetchInterval: 30_000,
  });
}
