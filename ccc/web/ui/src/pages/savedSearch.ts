import type { SavedFilter, SystemState } from '../api/types';
import type { SortKey } from '../fleet/select';
import type { Kind } from '../fleet/status';
import { parseReason } from '../history/reason';
import { type FleetSearch, parseSort } from './fleetSearch';

type Fields = SavedFilter['filter'];

/** What the kinds of status are to the API. */
const states: Record<Kind, SystemState[]> = {
  online: ['paired'],
  offline: ['paired'],
  setup: ['offered', 'received', 'proving'],
  attention: ['expired', 'declined', 'error', 'left'],
};

const sorts: Record<SortKey, NonNullable<Fields['sort']>> = {
  name: 'name',
  serial: 'serial',
  status: 'state',
  // The newest first is what ascending means here.
  since: '-state_since',
  created: 'created_at',
};

const turned = (sort: string) => (sort.startsWith('-') ? sort.slice(1) : `-${sort}`);

/** What of the page's address is kept. */
export function fieldsOf(search: FleetSearch): Fields {
  const sort = parseSort(search.sort);
  const presence = search.status === 'online' || search.status === 'offline';
  return {
    ...(search.q && { q: search.q }),
    ...(search.status && { state: states[search.status] }),
    ...(presence && { online: search.status === 'online' }),
    ...(search.reason && { offline_reason: search.reason }),
    ...(search.group && { group: search.group }),
    ...(search.site && { site: search.site }),
    ...(search.tags && { tag: search.tags }),
    ...(sort && { sort: (sort.descending ? turned(sorts[sort.key]) : sorts[sort.key]) as NonNullable<Fields['sort']> }),
  };
}

function kindOf({ state = [], online }: Fields): Kind | undefined {
  if (online !== undefined) return online ? 'online' : 'offline';
  return (['setup', 'attention'] as const).find(
    (kind) => state.length === states[kind].length && states[kind].every((s) => state.includes(s)),
  );
}

/** The page's address for a filter; what only the API can say is left out. */
export function searchOf(fields: Fields): FleetSearch {
  const status = kindOf(fields);
  const reason = parseReason(fields.offline_reason);
  const key = (Object.keys(sorts) as SortKey[]).find((k) => [sorts[k], turned(sorts[k])].includes(fields.sort ?? ''));
  return {
    ...(fields.q && { q: fields.q }),
    ...(status && { status }),
    ...(reason && { reason }),
    ...(fields.group && { group: fields.group }),
    ...(fields.site && { site: fields.site }),
    ...(fields.tag && fields.tag.length > 0 && { tags: fields.tag }),
    ...(key && { sort: fields.sort === sorts[key] ? key : `-${key}` }),
  };
}
