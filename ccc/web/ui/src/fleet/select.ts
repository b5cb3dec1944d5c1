import type { System } from '../api/types';
import { type Reason, reasonOf } from '../history/reason';
import { type Kind, kindOfStatus, kinds, statuses, statusOf, statusSince } from './status';

export const sortKeys = ['name', 'serial', 'status', 'since', 'created'] as const;
export type SortKey = (typeof sortKeys)[number];
export type Sort = { key: SortKey; descending: boolean };

export interface Filter {
  text: string;
  kind?: Kind | undefined;
  /** Why a system is offline. */
  reason?: Reason | undefined;
  group?: string | undefined;
  site?: string | undefined;
  /** Names of the sites, which are searched too. */
  sites?: ReadonlyMap<string, string> | undefined;
  tags: readonly string[];
}

/** Whether an order or a filter changes when a system goes online or offline. */
export function followsPresence(sort: Sort, filter: Filter): boolean {
  if (sort.key === 'status' || sort.key === 'since') return true;
  return filter.kind === 'online' || filter.kind === 'offline' || filter.reason !== undefined;
}

const collator = new Intl.Collator(undefined, { numeric: true, sensitivity: 'base' });

/** The systems in order; those that are equal go by name, then by serial. */
export function sorted(systems: Iterable<System>, { key, descending }: Sort): System[] {
  const sign = descending ? -1 : 1;
  const byName = (a: System, b: System) => collator.compare(a.name, b.name) || compare(a.serial, b.serial);
  const list = [...systems];
  if (key === 'name') return list.sort((a, b) => sign * byName(a, b));
  const value = sortValue[key];
  const keys = new Map(list.map((s) => [s.id, value(s)]));
  return list.sort((a, b) => sign * compare(keys.get(a.id) ?? '', keys.get(b.id) ?? '') || byName(a, b));
}

const sortValue: Record<Exclude<SortKey, 'name'>, (s: System) => string | number> = {
  serial: (s) => s.serial,
  status: (s) => statuses.indexOf(statusOf(s)),
  // The newest first is what ascending "since" means: how long, from short to long.
  since: (s) => -Date.parse(statusSince(s)),
  created: (s) => Date.parse(s.created_at),
};

function compare<T extends string | number>(a: T, b: T): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

/** Text without case and accents, for searching. */
export function folded(text: string): string {
  return text.normalize('NFD').replace(/\p{M}/gu, '').toLowerCase();
}

const haystacks = new WeakMap<System, string>();

function haystack(system: System): string {
  let text = haystacks.get(system);
  if (text === undefined) {
    const groups = system.groups.map((g) => g.name);
    text = folded([system.name, system.serial, system.note, ...system.tags, ...groups].join('\n'));
    haystacks.set(system, text);
  }
  return text;
}

/** Makes the test for a filter: every word has to be found, a serial also with spaces. */
export function matcher(filter: Filter): (system: System) => boolean {
  const text = folded(filter.text.trim());
  const digits = text.replace(/[\s.-]/g, '');
  const words = text.split(/\s+/).filter(Boolean);
  const sites = new Map([...(filter.sites ?? [])].map(([id, name]) => [id, folded(name)]));
  return (system) => {
    if (filter.kind && kindOfStatus(statusOf(system)) !== filter.kind) return false;
    if (filter.reason && reasonOf(system) !== filter.reason) return false;
    if (filter.group && !system.groups.some((g) => g.id === filter.group)) return false;
    if (filter.site && system.site_id !== filter.site) return false;
    if (!filter.tags.every((tag) => system.tags.includes(tag))) return false;
    if (words.length === 0) return true;
    const hay = haystack(system);
    const site = sites.get(system.site_id ?? '') ?? '';
    return (
      words.every((w) => hay.includes(w) || site.includes(w)) ||
      (/^[0-9]+$/.test(digits) && system.serial.includes(digits))
    );
  };
}

/** How many systems there are of each kind. */
export function countKinds(systems: Iterable<System>): Record<Kind, number> {
  const counts = Object.fromEntries(kinds.map((k) => [k, 0])) as Record<Kind, number>;
  for (const system of systems) counts[kindOfStatus(statusOf(system))]++;
  return counts;
}

/** Why systems are offline with how many are so, the most frequent first. */
export function reasonCounts(systems: Iterable<System>): { reason: Reason; count: number }[] {
  const counts = new Map<Reason, number>();
  for (const system of systems) {
    const reason = reasonOf(system);
    if (reason) counts.set(reason, (counts.get(reason) ?? 0) + 1);
  }
  return [...counts].map(([reason, count]) => ({ reason, count })).sort((a, b) => b.count - a.count);
}

/** All tags in use with how often, by name. */
export function tagCounts(systems: Iterable<System>): { name: string; count: number }[] {
  const counts = new Map<string, number>();
  for (const system of systems) for (const tag of system.tags) counts.set(tag, (counts.get(tag) ?? 0) + 1);
  return [...counts].map(([name, count]) => ({ name, count })).sort((a, b) => collator.compare(a.name, b.name));
}
