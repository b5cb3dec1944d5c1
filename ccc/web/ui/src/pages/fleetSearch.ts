import { type Sort, type SortKey, sortKeys } from '../fleet/select';
import { type Kind, kinds } from '../fleet/status';
import { parseReason, type Reason } from '../history/reason';

/** What of the table is in the page's address, so that it can be kept and passed on. */
export interface FleetSearch {
  q?: string;
  status?: Kind;
  reason?: Reason;
  group?: string;
  site?: string;
  tags?: string[];
  /** A key, with a dash before it: descending. */
  sort?: string;
}

export function parseFleetSearch(search: Record<string, unknown>): FleetSearch {
  const text = (v: unknown) => (typeof v === 'string' || typeof v === 'number' ? String(v).slice(0, 100) : '');
  const status = kinds.find((k) => k === search.status);
  const reason = parseReason(search.reason);
  const tags = Array.isArray(search.tags) ? search.tags.map(text).filter(Boolean) : [];
  return {
    ...(text(search.q) && { q: text(search.q) }),
    ...(status && { status }),
    ...(reason && { reason }),
    ...(text(search.group) && { group: text(search.group) }),
    ...(text(search.site) && { site: text(search.site) }),
    ...(tags.length > 0 && { tags }),
    ...(parseSort(search.sort) && { sort: text(search.sort) }),
  };
}

export function parseSort(sort: unknown): Sort | undefined {
  if (typeof sort !== 'string') return undefined;
  const descending = sort.startsWith('-');
  const key = sortKeys.find((k) => k === sort.slice(descending ? 1 : 0));
  return key && { key, descending };
}

/** The order after a click on a heading: ascending, descending, the default. */
export function nextSort(current: Sort | undefined, key: SortKey): string | undefined {
  if (current?.key !== key) return key === 'name' ? '-name' : key;
  return current.descending ? undefined : `-${key}`;
}
