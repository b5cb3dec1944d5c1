import { infiniteQueryOptions, queryOptions } from '@tanstack/react-query';
import { api, call } from '../api/client';

/** Others change all of this too, and tell nobody. */
const shared = { refetchOnWindowFocus: true } as const;

/** All tenants that the person may see, the own one first. */
export const tenantsQuery = queryOptions({
  queryKey: ['tenants'],
  queryFn: async () => (await call(api.GET('/tenants'))).items,
  staleTime: 60_000,
  ...shared,
});

/** What each role permits; it comes with the program and does not change. */
export const rolesQuery = queryOptions({
  queryKey: ['roles'],
  queryFn: () => call(api.GET('/roles')),
  staleTime: Number.POSITIVE_INFINITY,
});

export const sitesQuery = queryOptions({
  queryKey: ['sites'],
  queryFn: async () => (await call(api.GET('/sites'))).items,
  staleTime: 30_000,
  ...shared,
});

/** The tenants above the own one that can be let in. */
export const aboveQuery = queryOptions({
  queryKey: ['above'],
  queryFn: async () => (await call(api.GET('/tenants/above'))).items,
  staleTime: 60_000,
});

export const grantsQuery = queryOptions({
  queryKey: ['grants'],
  queryFn: async () => (await call(api.GET('/grants'))).items,
  ...shared,
});

/** How many of a list one answer has; the server allows 200. */
const pageSize = 50;

const paged = { initialPageParam: '', getNextPageParam: (page: { next?: string }) => page.next, ...shared } as const;

const query = (q: string, cursor: string) => ({ limit: pageSize, ...(q && { q }), ...(cursor && { cursor }) });

export const peopleQuery = (q: string) =>
  infiniteQueryOptions({
    queryKey: ['people', q],
    queryFn: ({ pageParam, signal }) => call(api.GET('/users', { params: { query: query(q, pageParam) }, signal })),
    ...paged,
  });

export const belowQuery = (q: string) =>
  infiniteQueryOptions({
    queryKey: ['below', q],
    queryFn: ({ pageParam, signal }) =>
      call(api.GET('/tenants/below', { params: { query: query(q, pageParam) }, signal })),
    ...paged,
  });

export const glassQuery = infiniteQueryOptions({
  queryKey: ['break-glass'],
  queryFn: ({ pageParam, signal }) =>
    call(api.GET('/break-glass', { params: { query: query('', pageParam) }, signal })),
  ...paged,
});

export const handoversQuery = infiniteQueryOptions({
  queryKey: ['handovers'],
  queryFn: ({ pageParam, signal }) => call(api.GET('/handovers', { params: { query: query('', pageParam) }, signal })),
  ...paged,
});
