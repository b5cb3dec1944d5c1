import type { NewWebhook } from '../api/types';

export type EventName = NewWebhook['events'][number];

/** All that a webhook can be told, in groups as people look for it. */
export const eventGroups = {
  systems: ['system.online', 'system.offline', 'system.paired', 'system.left', 'system.removed'],
  remote: ['remote.requested', 'remote.started', 'remote.ended'],
  rollouts: ['rollout.changed'],
  handovers: ['handover.offered', 'handover.accepted', 'handover.ended'],
  access: ['access.granted', 'access.revoked', 'break_glass.begun', 'break_glass.ended'],
  users: ['user.created', 'user.roles_changed', 'user.locked_out', 'user.let_in'],
} as const satisfies Record<string, readonly EventName[]>;

export const eventGroupNames = Object.keys(eventGroups) as (keyof typeof eventGroups)[];
