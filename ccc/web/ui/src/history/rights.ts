import { useMay } from '../app/meta';

/** Whether the signed-in person may see when systems were online. */
export function useHistoryRight(): boolean {
  return useMay().some('monitoring.read');
}
