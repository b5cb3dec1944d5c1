import type { System } from '../api/types';

/** Why a system is offline, as the API says it. */
export type Reason = NonNullable<System['offline_reason']>;

/** All of them; the type finds those that are missing. */
const all: Record<Reason, true> = {
  relay_drain: true,
  relay_lost: true,
  lost: true,
  network: true,
  power: true,
  restart: true,
  shutdown: true,
  certificate_expired: true,
  certificate_blocked: true,
  replaced: true,
  clone: true,
  idle_timeout: true,
  protocol: true,
  operator: true,
  unknown: true,
};

/** The reason that somebody has written, if it is one. */
export function parseReason(text: unknown): Reason | undefined {
  return (Object.keys(all) as Reason[]).find((reason) => reason === text);
}

/** Why a system is offline, where that says more than that it is. */
export function reasonOf(system: System): Reason | undefined {
  return system.state === 'paired' && !system.online ? system.offline_reason : undefined;
}
