import { useSyncExternalStore } from 'react';
import { api, apiBase, call, sessionEnded } from '../api/client';
import { limits } from '../api/generated/limits';
import { type ApiError, asApiError } from '../api/problem';
import { tenantGone, tenantHeaders } from '../api/tenant';
import type { LiveEvent, System, SystemChange } from '../api/types';
import { delay } from '../live/backoff';
import { LiveStream, type StreamState } from '../live/stream';
import { addPage, apply, beginLoad, emptyFleet, endLoad, type Fleet, type HeardStep, put, remove } from './fleet';

/** What changes when anything does; compare by identity. */
export interface Snapshot {
  readonly structure: number;
  readonly presence: number;
  readonly total: number;
  readonly loaded: number;
  readonly complete: boolean;
  /** Why the systems cannot be loaded; they are tried again. */
  readonly error: ApiError | null;
}

/** Events that come within so many milliseconds are shown at once. */
const batchTime = 120;

/** While pages of systems come in, the table is shown anew once in so many milliseconds. */
const loadingTime = 400;

const loadBackoff = { first: 1000, most: 30_000 };

/** A hidden page gives its connection back after so many milliseconds. */
const hiddenTime = 60_000;

/**
 * The systems of the tenant, kept up to date by the live events. Components read it with
 * the hooks below. Only one runs at a time, from start to stop.
 */
export class FleetStore {
  private fleet: Fleet = emptyFleet();
  private snapshot: Snapshot = snapshotOf(this.fleet, null);
  private streamState: StreamState = { state: 'connecting' };
  private error: ApiError | null = null;
  private queue: LiveEvent[] = [];
  private flushTimer: ReturnType<typeof setTimeout> | undefined;
  private hiddenTimer: ReturnType<typeof setTimeout> | undefined;
  private stream: LiveStream | undefined;
  private load: AbortController | undefined;
  private readonly listeners = new Set<() => void>();
  private readonly eventListeners = new Set<(event: LiveEvent) => void>();

  start(): void {
    document.addEventListener('visibilitychange', this.visibility);
    window.addEventListener('online', this.retryNow);
    this.open();
  }

  /** Ends all and forgets the systems. */
  stop(): void {
    document.removeEventListener('visibilitychange', this.visibility);
    window.removeEventListener('online', this.retryNow);
    clearTimeout(this.flushTimer);
    clearTimeout(this.hiddenTimer);
    this.shut();
    this.flushTimer = undefined;
    this.queue = [];
    this.fleet = emptyFleet();
    this.error = null;
    this.streamState = { state: 'connecting' };
    this.publish();
  }

  readonly subscribe = (f: () => void): (() => void) => {
    this.listeners.add(f);
    return () => this.listeners.delete(f);
  };

  /** Hears of each event after it has been taken. */
  readonly onEvent = (f: (event: LiveEvent) => void): (() => void) => {
    this.eventListeners.add(f);
    return () => this.eventListeners.delete(f);
  };

  readonly getSnapshot = (): Snapshot => this.snapshot;
  readonly getStream = (): StreamState => this.streamState;
  readonly retryNow = (): void => this.stream?.retryNow();
  get = (id: string): System | undefined => this.fleet.systems.get(id);
  step = (id: string): HeardStep | undefined => this.fleet.steps.get(id);
  all = (): Iterable<System> => this.fleet.systems.values();

  /** Takes a system out of an answer. */
  put(system: System): void {
    put(this.fleet, system);
    this.publish();
  }

  remove(id: string): void {
    remove(this.fleet, id);
    this.publish();
  }

  /** Shows a change before the server has it; gives the way back. */
  change(id: string, change: Partial<Pick<System, 'name' | 'note' | 'tags' | 'groups'>>): () => void {
    const before = this.get(id);
    if (!before) return () => {};
    const shown = { ...before, ...change };
    put(this.fleet, shown);
    this.publish();
    return () => {
      // Only where nothing newer has come meanwhile.
      if (this.get(id) !== shown) return;
      put(this.fleet, before);
      this.publish();
    };
  }

  private open(): void {
    if (this.stream) return;
    this.stream = new LiveStream({
      url: `${apiBase}/events`,
      headers: tenantHeaders,
      onOpen: () => void this.reload(),
      onEvent: (event) => this.enqueue(event),
      onState: (state) => {
        this.streamState = state;
        for (const f of this.listeners) f();
      },
      onUnauthenticated: sessionEnded,
      onGone: tenantGone,
    });
  }

  private shut(): void {
    this.stream?.close();
    this.stream = undefined;
    this.load?.abort();
  }

  private readonly visibility = (): void => {
    clearTimeout(this.hiddenTimer);
    if (document.visibilityState === 'visible') {
      this.open();
    } else {
      this.hiddenTimer = setTimeout(() => this.shut(), hiddenTime);
    }
  };

  private enqueue(event: LiveEvent): void {
    this.queue.push(event);
    this.flushTimer ??= setTimeout(() => this.flush(), batchTime);
  }

  private flush(): void {
    this.flushTimer = undefined;
    const events = this.queue;
    this.queue = [];
    const now = Date.now();
    for (const event of events) {
      if (event.event === 'reset') void this.reload();
      apply(this.fleet, event, now);
    }
    this.publish();
    for (const event of events) for (const f of this.eventListeners) f(event);
  }

  /** Loads all systems, page by page; where a page fails, it is tried again. */
  private async reload(): Promise<void> {
    this.load?.abort();
    const load = new AbortController();
    this.load = load;
    const { signal } = load;
    beginLoad(this.fleet);
    const loaded = new Set<string>();
    let cursor: string | undefined;
    let failures = 0;
    let shownAt = 0;
    do {
      try {
        const query = { limit: limits.page, ...(cursor && { cursor }) };
        const page = await call(api.GET('/systems', { params: { query }, signal }));
        if (signal.aborted) return;
        for (const item of page.items) loaded.add(item.id);
        addPage(this.fleet, page.items, cursor ? undefined : page.total);
        cursor = page.next;
        this.error = null;
        failures = 0;
        if (cursor && Date.now() - shownAt >= loadingTime) {
          shownAt = Date.now();
          this.publish();
        }
      } catch (thrown) {
        if (signal.aborted) return;
        this.error = asApiError(thrown);
        this.publish();
        if (this.error.code === 'unauthenticated') return;
        failures++;
        const wait = Math.max((this.error.retryAfter ?? 0) * 1000, delay(failures, loadBackoff));
        await new Promise((resolve) => setTimeout(resolve, wait));
        if (signal.aborted) return;
      }
    } while (cursor || failures > 0);
    endLoad(this.fleet, loaded);
    this.publish();
  }

  private publish(): void {
    this.snapshot = snapshotOf(this.fleet, this.error);
    for (const f of this.listeners) f();
  }
}

function snapshotOf(fleet: Fleet, error: ApiError | null): Snapshot {
  const { structure, presence, total, complete } = fleet;
  return { structure, presence, total, complete, loaded: fleet.systems.size, error };
}

/** The one store of this page. */
export const fleet = new FleetStore();

export const useFleet = (): Snapshot => useSyncExternalStore(fleet.subscribe, fleet.getSnapshot);
export const useStream = (): StreamState => useSyncExternalStore(fleet.subscribe, fleet.getStream);
export const useSystem = (id: string): System | undefined => useSyncExternalStore(fleet.subscribe, () => fleet.get(id));
export const useStep = (id: string): HeardStep | undefined =>
  useSyncExternalStore(fleet.subscribe, () => fleet.step(id));

/**
 * Changes a system: on the page at once, then at the server, which refuses where somebody
 * else was faster. Then the page shows what the server has, and the error is thrown.
 */
export async function changeSystem(system: System, change: SystemChange, shown: Partial<System>): Promise<void> {
  const undo = fleet.change(system.id, shown);
  const path = { id: system.id };
  try {
    fleet.put(
      await call(
        api.PATCH('/systems/{id}', {
          params: { path, header: { 'If-Match': `"${system.version}"` } },
          body: change,
        }),
      ),
    );
  } catch (thrown) {
    undo();
    const error = asApiError(thrown);
    if (error.code === 'version') await refreshSystem(system.id);
    throw error;
  }
}

/** Asks the server for a system. */
export async function refreshSystem(id: string): Promise<System> {
  const system = await call(api.GET('/systems/{id}', { params: { path: { id } } }));
  fleet.put(system);
  return system;
}
