import { queryOptions } from '@tanstack/react-query';
import { api, call } from '../api/client';
import type { components } from '../api/generated/schema';
import { useMay, useMe } from '../app/meta';

export type Firmware = components['schemas']['Firmware'];

/** All images, the newest first. */
export const firmwareQuery = queryOptions({
  queryKey: ['firmware'],
  queryFn: async ({ signal }) => (await call(api.GET('/firmware', { signal }))).items,
  retry: false,
  refetchOnWindowFocus: true,
});

/** Whether the signed-in person says which firmware there is: that is the operator's. */
export function useKeepsFirmware(): boolean {
  const { tenant } = useMe();
  return useMay().whole('firmware.write') && tenant.kind === 'operator';
}

/** Whether the signed-in person may bring firmware to systems. */
export function useBringsFirmware(): boolean {
  const { some } = useMay();
  return some('firmware.write') && some('config.write');
}
