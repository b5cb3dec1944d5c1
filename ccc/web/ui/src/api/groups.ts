import { queryOptions, useQueryClient } from '@tanstack/react-query';
import { useCallback } from 'react';
import { api, call, idempotencyKey } from './client';
import type { Group } from './types';

export const groupsQuery = queryOptions({
  queryKey: ['groups'],
  queryFn: async () => (await call(api.GET('/groups'))).items,
  staleTime: 30_000,
});

/** Gives a function that makes a group. */
export function useMakeGroup(): (name: string) => Promise<Group> {
  const queryClient = useQueryClient();
  return useCallback(
    async (name) => {
      const header = { 'Idempotency-Key': idempotencyKey() };
      const group = await call(api.POST('/groups', { params: { header }, body: { name } }));
      queryClient.setQueryData(groupsQuery.queryKey, (known) => [...(known ?? []), group]);
      return group;
    },
    [queryClient],
  );
}
