import type { LiveEvent, OfferStep, Presence, System } from '../api/types';

/** A step of an offer, and when this page heard of it. */
export type HeardStep = OfferStep & { at: number };

/**
 * The systems of the tenant as this page knows them. Systems are never changed, only
 * replaced, so that whoever shows one sees by its identity whether it is another.
 */
export interface Fleet {
  systems: Map<string, System>;
  /** Counts up when systems come, go, or change in what they can be sorted or found by. */
  structure: number;
  /** Counts up when one of them goes online or offline. */
  presence: number;
  /** How many there are, according to the server. */
  total: number;
  /** Whether all of them have been loaded. */
  complete: boolean;
  /** The newest step of each system's offer. */
  steps: Map<string, HeardStep>;
  /** What live events have touched while a load was running; null: none is running. */
  touched: Touched | null;
}

interface Touched {
  systems: Set<string>;
  removed: Set<string>;
  presence: Map<string, Presence>;
}

export function emptyFleet(): Fleet {
  return {
    systems: new Map(),
    structure: 0,
    presence: 0,
    total: 0,
    complete: false,
    steps: new Map(),
    touched: null,
  };
}

/**
 * A load of all systems begins: from now on events win over the pages of the load. Steps
 * that were heard before may be of offers that have ended unheard.
 */
export function beginLoad(fleet: Fleet): void {
  fleet.steps.clear();
  fleet.touched = { systems: new Set(), removed: new Set(), presence: new Map() };
}

/**
 * Takes one page of a load. The first brings the number of systems as it was then; what
 * events say later is newer, so the other pages leave it alone.
 */
export function addPage(fleet: Fleet, items: readonly System[], total?: number): void {
  const touched = fleet.touched;
  for (const item of items) {
    if (touched?.removed.has(item.id)) continue;
    if (!touched?.systems.has(item.id)) {
      const heard = touched?.presence.get(item.id);
      fleet.systems.set(item.id, heard ? withPresence(item, heard) : item);
    }
  }
  fleet.total = Math.max(total ?? fleet.total, fleet.systems.size);
  fleet.structure++;
  fleet.presence++;
}

/** A load has ended: what was neither on a page nor in an event is gone. */
export function endLoad(fleet: Fleet, loaded: ReadonlySet<string>): void {
  const touched = fleet.touched;
  for (const id of fleet.systems.keys()) {
    if (!loaded.has(id) && !touched?.systems.has(id)) fleet.systems.delete(id);
  }
  fleet.touched = null;
  fleet.complete = true;
  fleet.total = fleet.systems.size;
  fleet.structure++;
}

/** Takes an event; reset is for the caller, who has to load anew. */
export function apply(fleet: Fleet, message: LiveEvent, now: number): void {
  switch (message.event) {
    case 'system':
      put(fleet, message.data);
      return;
    case 'removed':
      fleet.touched?.systems.delete(message.data.id);
      fleet.touched?.removed.add(message.data.id);
      remove(fleet, message.data.id);
      return;
    case 'presence':
      applyPresence(fleet, message.data);
      return;
    case 'offer':
      fleet.steps.set(message.data.system_id, { ...message.data, at: now });
      return;
    case 'summary':
      if (!fleet.complete) fleet.total = message.data.total;
      return;
  }
}

/** Takes a system from an event or from an answer; an older version is left out. */
export function put(fleet: Fleet, system: System): void {
  const known = fleet.systems.get(system.id);
  if (known && known.version > system.version) return;
  fleet.touched?.systems.add(system.id);
  fleet.touched?.removed.delete(system.id);
  fleet.systems.set(system.id, system);
  fleet.structure++;
  if (known?.online !== system.online) fleet.presence++;
  if (!known && fleet.complete) fleet.total = Math.max(fleet.total, fleet.systems.size);
}

export function remove(fleet: Fleet, id: string): void {
  if (!fleet.systems.delete(id)) return;
  fleet.steps.delete(id);
  fleet.structure++;
  fleet.presence++;
  if (fleet.complete) fleet.total = fleet.systems.size;
}

function applyPresence(fleet: Fleet, presence: Presence): void {
  fleet.touched?.presence.set(presence.id, presence);
  const known = fleet.systems.get(presence.id);
  if (!known) return;
  fleet.systems.set(presence.id, withPresence(known, presence));
  fleet.presence++;
}

function withPresence(system: System, presence: Presence): System {
  const {
    online_since: _s,
    last_seen_at: seen,
    transport: _t,
    rtt_ms: _r,
    offline_reason: _o,
    offline_since: _f,
    quarantined: _q,
    unclear: _u,
    ...rest
  } = system;
  if (!presence.online) {
    return {
      ...rest,
      online: false,
      last_seen_at: system.online ? presence.since : (seen ?? presence.since),
      ...(presence.offline_reason && { offline_reason: presence.offline_reason }),
      ...(system.offline_since && { offline_since: system.offline_since }),
      ...(presence.quarantined && { quarantined: true }),
      ...(presence.unclear && { unclear: true }),
    };
  }
  return {
    ...rest,
    online: true,
    online_since: presence.since,
    ...(presence.transport && { transport: presence.transport }),
    ...(presence.rtt_ms !== undefined && { rtt_ms: presence.rtt_ms }),
  };
}
