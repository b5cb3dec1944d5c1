import { useInfiniteQuery, useQuery, useQueryClient } from '@tanstack/react-query';
import { useEffect } from 'react';
import { api, call } from '../api/client';
import type { RemoteSession } from '../api/types';
import { fleet, useStream } from '../fleet/store';

export const openStates = ['requested', 'pending', 'active'] as const satisfies RemoteSession['state'][];
export const finalStates = ['ended', 'refused', 'expired'] as const satisfies RemoteSession['state'][];

export const isOpen = (s: RemoteSession): boolean => (openStates as readonly string[]).includes(s.state);

/** Which records of the tenant are wanted. */
export interface RecordFilter {
  system?: string;
  serial?: string;
  state?: RemoteSession['state'][];
}

/** How many records one answer has; the server allows 200. */
const pageSize = 50;

/** Asks anew for all about remote access when something changes, or may have changed unheard. */
export function useRemoteLive(): void {
  const queryClient = useQueryClient();
  const live = useStream().state === 'live';
  useEffect(() => {
    if (live) void queryClient.invalidateQueries({ queryKey: ['remote'] });
  }, [live, queryClient]);
  useEffect(
    () =>
      fleet.onEvent((message) => {
        if (message.event === 'remote' || message.event === 'reset') {
          void queryClient.invalidateQueries({ queryKey: ['remote'] });
        }
      }),
    [queryClient],
  );
}

export function records(filter: RecordFilter, cursor: string, limit: number, signal?: AbortSignal) {
  return call(
    api.GET('/remote', {
      params: { query: { ...filter, limit, ...(cursor && { cursor }) } },
      ...(signal && { signal }),
    }),
  );
}

/** The tenant's records, the newest first, kept up to date. */
export function useRecords(filter: RecordFilter) {
  useRemoteLive();
  return useInfiniteQuery({
    queryKey: ['remote', 'list', filter],
    queryFn: ({ pageParam, signal }) => records(filter, pageParam, pageSize, signal),
    initialPageParam: '',
    getNextPageParam: (page) => page.next,
  });
}

/** The records of one system, the newest first, kept up to date. */
export function useRecordsOf(system: string) {
  useRemoteLive();
  return useQuery({
    queryKey: ['remote', 'of', system],
    queryFn: ({ signal }) =>
      call(api.GET('/systems/{id}/remote', { params: { path: { id: system }, query: { limit: 20 } }, signal })),
  });
}

/** One record, kept up to date. */
export function useRecord(session: string) {
  useRemoteLive();
  return useQuery({
    queryKey: ['remote', 'one', session],
    queryFn: ({ signal }) => call(api.GET('/remote/{session}', { params: { path: { session } }, signal })),
  });
}

/** Ends a remote access, or takes back the request. */
export async function endRemote(s: RemoteSession): Promise<void> {
  const path = { id: s.system_id, session: s.id };
  await call(api.DELETE('/systems/{id}/remote/{session}', { params: { path } }));
}
