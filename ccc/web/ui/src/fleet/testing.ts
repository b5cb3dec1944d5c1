import type { System } from '../api/types';

/** A paired system that is online, for tests. */
export function testSystem(change: Partial<System> = {}): System {
  return {
    id: 's-1',
    serial: '0123456789',
    name: 'Rathaus',
    note: '',
    state: 'paired',
    state_since: '2026-03-01T10:00:00Z',
    version: 1,
    created_at: '2026-03-01T09:00:00Z',
    epoch: '1',
    online: true,
    online_since: '2026-03-01T11:00:00Z',
    transport: 'quic',
    rtt_ms: 12,
    tags: [],
    groups: [],
    ...change,
  };
}
