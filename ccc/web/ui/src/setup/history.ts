import { useInfiniteQuery, useQueryClient } from '@tanstack/react-query';
import { useEffect } from 'react';
import { api, call } from '../api/client';
import type { System } from '../api/types';
import { fleet, useStep } from '../fleet/store';
import { type Reason, reasonIn, reasonOf } from './reason';

/** What happened to a system, the newest first; it is asked again when more happens. */
export function useHistory(id: string, enabled = true) {
  const queryClient = useQueryClient();
  useEffect(() => {
    if (!enabled) return;
    return fleet.onEvent((message) => {
      const about =
        (message.event === 'system' && message.data.id === id) ||
        (message.event === 'offer' && message.data.system_id === id);
      if (about) void queryClient.invalidateQueries({ queryKey: ['events', id] });
    });
  }, [id, enabled, queryClient]);
  return useInfiniteQuery({
    queryKey: ['events', id],
    queryFn: ({ pageParam, signal }) =>
      call(
        api.GET('/systems/{id}/events', {
          params: { path: { id }, query: { limit: 20, ...(pageParam && { cursor: pageParam }) } },
          signal,
        }),
      ),
    initialPageParam: '',
    getNextPageParam: (page) => page.next,
    enabled,
  });
}

/** Why the PBX gave the token back: heard just now, or out of the system's history. */
export function useReason(system: System): Reason | undefined {
  const ended = system.state === 'declined' || system.state === 'expired';
  const step = useStep(system.id);
  const heard = ended && step?.step === system.state ? reasonOf(step.detail) : undefined;
  const { data } = useHistory(system.id, ended && !heard);
  if (!ended) return undefined;
  return heard ?? reasonIn(data?.pages.flatMap((page) => page.items) ?? [], system.state);
}
