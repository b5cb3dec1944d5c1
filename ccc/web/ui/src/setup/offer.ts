import { queryOptions } from '@tanstack/react-query';
import { api, call } from '../api/client';

export const offerKey = (system: string) => ['offer', system] as const;

/** The open offer of a system with its token; it is forgotten soon after it was shown. */
export const offerQuery = (system: string) =>
  queryOptions({
    queryKey: offerKey(system),
    queryFn: () => call(api.GET('/systems/{id}/offer', { params: { path: { id: system } } })),
    staleTime: Number.POSITIVE_INFINITY,
    gcTime: 10_000,
  });
