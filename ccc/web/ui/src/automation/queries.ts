import { queryOptions } from '@tanstack/react-query';
import { api, call } from '../api/client';

/** All webhooks of the tenant. */
export const webhooksQuery = queryOptions({
  queryKey: ['webhooks'],
  queryFn: ({ signal }) => call(api.GET('/webhooks', { signal })).then(({ items }) => items),
  // How the receivers are.
  refetchInterval: 10_000,
});

/** The newest of what a webhook was told. */
export const deliveriesQuery = (id: string) =>
  queryOptions({
    queryKey: ['webhooks', id, 'deliveries'],
    queryFn: ({ signal }) =>
      call(api.GET('/webhooks/{id}/deliveries', { params: { path: { id }, query: { limit: 50 } }, signal })).then(
        ({ items }) => items,
      ),
    refetchInterval: 3000,
  });

/** One delivery, with what came of each try. */
export const deliveryQuery = (id: string, delivery: string) =>
  queryOptions({
    queryKey: ['webhooks', id, 'deliveries', delivery],
    queryFn: ({ signal }) =>
      call(api.GET('/webhooks/{id}/deliveries/{delivery}', { params: { path: { id, delivery } }, signal })),
  });
