import type { System } from '../api/types';

/** What the pages say about a system; presence counts only for paired ones. */
export const statuses = [
  'online',
  'offline',
  'quarantined',
  'waiting',
  'received',
  'proving',
  'expired',
  'declined',
  'error',
  'left',
] as const;
export type Status = (typeof statuses)[number];

/** Kinds of status that people look for. */
export const kinds = ['online', 'offline', 'setup', 'attention'] as const;
export type Kind = (typeof kinds)[number];

export function statusOf(system: System): Status {
  switch (system.state) {
    case 'paired':
      return system.online ? 'online' : system.quarantined ? 'quarantined' : 'offline';
    case 'offered':
      return 'waiting';
    default:
      return system.state;
  }
}

const kindOf: Record<Status, Kind> = {
  online: 'online',
  offline: 'offline',
  quarantined: 'attention',
  waiting: 'setup',
  received: 'setup',
  proving: 'setup',
  expired: 'attention',
  declined: 'attention',
  error: 'attention',
  left: 'attention',
};

export function kindOfStatus(status: Status): Kind {
  return kindOf[status];
}

/** Since when a system has its status. */
export function statusSince(system: System): string {
  const status = statusOf(system);
  if (status === 'online') return system.online_since ?? system.state_since;
  if (status === 'offline' || status === 'quarantined')
    return system.offline_since ?? system.last_seen_at ?? system.state_since;
  return system.state_since;
}

/** Colours of the theme that stand for a kind. */
export const kindColor: Record<Kind, string> = { online: 'teal', offline: 'gray', setup: 'yellow', attention: 'red' };
