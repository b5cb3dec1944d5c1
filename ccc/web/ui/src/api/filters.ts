import { queryOptions } from '@tanstack/react-query';
import { api, call } from './client';

/** The filters of systems that the person may choose from. */
export const filtersQuery = queryOptions({
  queryKey: ['filters'],
  queryFn: async () => (await call(api.GET('/filters'))).items,
  staleTime: 30_000,
});
