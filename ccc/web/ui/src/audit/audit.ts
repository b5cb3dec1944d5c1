import { keepPreviousData, useInfiniteQuery } from '@tanstack/react-query';
import { api, apiBase, call } from '../api/client';
import { errorOf } from '../api/problem';
import { tenantHeaders } from '../api/tenant';
import { type AuditSearch, queryOf } from './search';

const pageSize = 50;

/** The entries that fit, the newest first. */
export function useAudit(search: AuditSearch) {
  return useInfiniteQuery({
    queryKey: ['audit', search],
    queryFn: ({ pageParam, signal }) =>
      call(
        api.GET('/audit', {
          params: { query: { ...queryOf(search), limit: pageSize, ...(pageParam && { cursor: pageParam }) } },
          signal,
        }),
      ),
    initialPageParam: '',
    getNextPageParam: (page) => page.next,
    placeholderData: keepPreviousData,
  });
}

/** Where an entry came from, as long as that is known. */
export function addressOf(seq: number) {
  return call(api.GET('/audit/{seq}/address', { params: { path: { seq } } }));
}

/** The whole log as a file. */
export async function exported(format: 'jsonl' | 'csv'): Promise<Blob> {
  const response = await fetch(`${apiBase}/audit/export?format=${format}`, { headers: tenantHeaders });
  if (!response.ok) throw errorOf(response, await response.json().catch(() => undefined));
  return response.blob();
}

/** Has the browser keep a file. */
export function save(file: Blob, name: string): void {
  const url = URL.createObjectURL(file);
  const link = document.createElement('a');
  link.href = url;
  link.download = name;
  link.click();
  URL.revokeObjectURL(url);
}
