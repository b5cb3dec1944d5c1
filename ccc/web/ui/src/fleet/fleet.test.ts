import { beforeEach, describe, expect, it } from 'vitest';
import type { LiveEvent } from '../api/types';
import { addPage, apply, beginLoad, emptyFleet, endLoad, type Fleet, put } from './fleet';
import { testSystem } from './testing';

const a = testSystem({ id: 'a' });
const b = testSystem({ id: 'b' });
let fleet: Fleet;
const take = (event: LiveEvent) => apply(fleet, event, 1);

beforeEach(() => {
  fleet = emptyFleet();
});

function loaded(...systems: (typeof a)[]) {
  beginLoad(fleet);
  addPage(fleet, systems, systems.length);
  endLoad(fleet, new Set(systems.map((s) => s.id)));
}

describe('the total', () => {
  it('is what the first page says, until an event says something newer', () => {
    beginLoad(fleet);
    addPage(fleet, [a], 3);
    expect(fleet.total).toBe(3);
    take({ event: 'summary', data: { total: 5, online: 1 } });
    addPage(fleet, [b]);
    expect(fleet.total).toBe(5);
  });

  it('is never less than what has been loaded', () => {
    beginLoad(fleet);
    addPage(fleet, [a], 1);
    addPage(fleet, [b]);
    expect(fleet.total).toBe(2);
  });
});

it('forgets steps that were heard before a load', () => {
  loaded(a);
  take({ event: 'offer', data: { system_id: 'a', step: 'received' } });
  beginLoad(fleet);
  take({ event: 'offer', data: { system_id: 'b', step: 'sent' } });
  expect([...fleet.steps.keys()]).toEqual(['b']);
});

describe('events', () => {
  beforeEach(() => loaded(a, b));

  it('system: is taken where it is newer', () => {
    take({ event: 'system', data: { ...a, name: 'Neu', version: 2 } });
    take({ event: 'system', data: { ...a, name: 'Alt', version: 1 } });
    expect(fleet.systems.get('a')?.name).toBe('Neu');
  });

  it('system: a new one is counted', () => {
    take({ event: 'system', data: testSystem({ id: 'c' }) });
    expect([...fleet.systems.keys()]).toEqual(['a', 'b', 'c']);
    expect(fleet.total).toBe(3);
  });

  it('removed: it is gone, and its steps', () => {
    take({ event: 'offer', data: { system_id: 'a', step: 'sent' } });
    take({ event: 'removed', data: { id: 'a' } });
    expect([...fleet.systems.keys()]).toEqual(['b']);
    expect(fleet.steps.size).toBe(0);
    expect(fleet.total).toBe(1);
  });

  it('presence: offline', () => {
    take({ event: 'presence', data: { id: 'a', online: false, since: '2026-03-01T12:00:00Z' } });
    const system = fleet.systems.get('a');
    expect(system).toMatchObject({ online: false, last_seen_at: '2026-03-01T12:00:00Z' });
    expect(system).not.toHaveProperty('transport');
    expect(system).not.toHaveProperty('rtt_ms');
    expect(system).not.toHaveProperty('online_since');
  });

  it('presence: offline again keeps when it was seen', () => {
    take({ event: 'presence', data: { id: 'a', online: false, since: '2026-03-01T12:00:00Z' } });
    take({ event: 'presence', data: { id: 'a', online: false, since: '2026-03-01T13:00:00Z' } });
    expect(fleet.systems.get('a')?.last_seen_at).toBe('2026-03-01T12:00:00Z');
  });

  it('presence: online', () => {
    put(fleet, testSystem({ id: 'a', version: 2, online: false, last_seen_at: '2026-03-01T12:00:00Z' }));
    take({
      event: 'presence',
      data: { id: 'a', online: true, since: '2026-03-01T13:00:00Z', transport: 'tcp', rtt_ms: 4 },
    });
    expect(fleet.systems.get('a')).toMatchObject({
      online: true,
      online_since: '2026-03-01T13:00:00Z',
      transport: 'tcp',
      rtt_ms: 4,
    });
    expect(fleet.systems.get('a')).not.toHaveProperty('last_seen_at');
  });

  it('presence: changes neither order nor other systems', () => {
    const { structure, presence } = fleet;
    take({ event: 'presence', data: { id: 'a', online: false, since: '2026-03-01T12:00:00Z' } });
    expect(fleet.structure).toBe(structure);
    expect(fleet.presence).toBe(presence + 1);
    expect(fleet.systems.get('b')).toBe(b);
  });

  it('presence: of one that is not known is left out', () => {
    take({ event: 'presence', data: { id: 'x', online: true, since: '2026-03-01T12:00:00Z' } });
    expect(fleet.systems.has('x')).toBe(false);
  });

  it('offer: the newest step counts', () => {
    take({ event: 'offer', data: { system_id: 'a', step: 'sent' } });
    take({ event: 'offer', data: { system_id: 'a', step: 'declined', detail: 'rejected' } });
    expect(fleet.steps.get('a')).toEqual({ system_id: 'a', step: 'declined', detail: 'rejected', at: 1 });
  });
});

describe('a load with events in between', () => {
  it('keeps what an event said, not an older page', () => {
    beginLoad(fleet);
    take({ event: 'system', data: { ...a, name: 'Neu', version: 2 } });
    addPage(fleet, [a, b], 2);
    endLoad(fleet, new Set(['a', 'b']));
    expect(fleet.systems.get('a')?.name).toBe('Neu');
  });

  it('does not bring back what was removed meanwhile', () => {
    beginLoad(fleet);
    take({ event: 'removed', data: { id: 'a' } });
    addPage(fleet, [a, b], 2);
    endLoad(fleet, new Set(['a', 'b']));
    expect([...fleet.systems.keys()]).toEqual(['b']);
  });

  it('applies presence that came before its page', () => {
    beginLoad(fleet);
    take({ event: 'presence', data: { id: 'a', online: false, since: '2026-03-01T12:00:00Z' } });
    addPage(fleet, [a], 1);
    expect(fleet.systems.get('a')?.online).toBe(false);
  });

  it('keeps a system that is new since the load began', () => {
    beginLoad(fleet);
    addPage(fleet, [a], 1);
    take({ event: 'system', data: b });
    endLoad(fleet, new Set(['a']));
    expect([...fleet.systems.keys()]).toEqual(['a', 'b']);
  });

  it('forgets what is nowhere any more', () => {
    loaded(a, b);
    loaded(b);
    expect([...fleet.systems.keys()]).toEqual(['b']);
    expect(fleet.complete).toBe(true);
  });

  it('shows the server’s total until all are there', () => {
    take({ event: 'summary', data: { total: 500, online: 400 } });
    expect(fleet.total).toBe(500);
    loaded(a, b);
    take({ event: 'summary', data: { total: 500, online: 400 } });
    expect(fleet.total).toBe(2);
  });
});
