import type { System } from '../api/types';
import { useMay } from '../app/meta';

/** Why a system is offline, as the API says it. */
export type Reason = NonNullable<System['offline_reason']>;

/** Why a system is offline, where that says more than that it is. */
export function reasonOf(system: System): Reason | undefined {
  return system.state === 'paired' && !system.online ? system.offline_reason : undefined;
}

/** Whether the signed-in person may see when systems were online. */
export function useHistoryRight(): boolean {
  return useMay().some('monitoring.read');
}
