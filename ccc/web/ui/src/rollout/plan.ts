import type { components } from '../api/generated/schema';
import type { Rollout } from './queries';

type RolloutPlan = components['schemas']['RolloutPlan'];

/** A time of each day, as hours and minutes, in a zone of the IANA database. */
export type Window = NonNullable<RolloutPlan['window']>;

/** How a rollout proceeds, as the form has it. */
export interface Plan {
  first: number;
  percent: number;
  parallel: number;
  pause_minutes: number;
  max_failures: number;
  /** Of a ring; 0: does not count. */
  max_percent: number;
  wait_hours: number;
  restart: boolean;
  /** Firmware also where a newer one runs. */
  downgrade: boolean;
  window?: Window | undefined;
}

export const firstPlan: Plan = {
  first: 1,
  percent: 10,
  parallel: 10,
  pause_minutes: 10,
  max_failures: 0,
  max_percent: 0,
  wait_hours: 72,
  restart: false,
  downgrade: false,
};

/** The zone that the person is in. */
export const ownZone = () => Intl.DateTimeFormat().resolvedOptions().timeZone;

/** What the form begins with where somebody wants a time of the day: the night. */
export const firstWindow = (): Window => ({ from: '22:00', to: '04:00', zone: ownZone() });

/** Whether a window is one; until its end is another time than its beginning it is none. */
export function windowFits({ window }: Plan): boolean {
  return !window || (window.from !== '' && window.to !== '' && window.from !== window.to);
}

/** The plan as the API takes it. */
export function planOf(plan: Plan, kind: Rollout['kind']): RolloutPlan {
  const { first, percent, max_percent, restart, downgrade, window, ...rest } = plan;
  return {
    ...rest,
    rings: [{ count: first }, { percent }, { percent: 100 }],
    ...(max_percent > 0 && { max_percent }),
    ...(kind === 'settings' && { restart }),
    ...(kind === 'firmware' && downgrade && { downgrade }),
    ...(window && { window }),
  };
}
