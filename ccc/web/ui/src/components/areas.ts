import { useMe } from '../app/meta';
import { useRemoteRights } from '../remote/rights';

const all = [
  { name: 'systems', to: '/' },
  { name: 'remote', to: '/remote' },
  { name: 'statistics', to: '/statistics' },
] as const;

/** The areas of the pages that the signed-in person has something to do with. */
export function useAreas(): readonly (typeof all)[number][] {
  const { tenant } = useMe();
  const { list } = useRemoteRights();
  const hidden = { systems: false, remote: !list, statistics: tenant.kind !== 'operator' };
  return all.filter(({ name }) => !hidden[name]);
}
