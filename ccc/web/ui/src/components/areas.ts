import type { Me } from '../api/types';
import { useMay, useMe } from '../app/meta';

type Who = { me: Me } & ReturnType<typeof useMay>;

/** All areas in their order, and who has something to do with each. Their names are nav.<name>. */
const all = [
  { name: 'systems', to: '/', may: () => true },
  { name: 'map', to: '/map', may: ({ some }: Who) => some('tenant.read') },
  { name: 'remote', to: '/remote', may: ({ whole }: Who) => whole('remote.read') },
  { name: 'rollouts', to: '/rollouts', may: ({ some }: Who) => some('config.read') },
  { name: 'firmware', to: '/firmware', may: ({ some }: Who) => some('config.read') },
  { name: 'organisation', to: '/organisation', may: () => true },
  { name: 'automation', to: '/automation', may: ({ whole }: Who) => whole('webhooks.read') },
  { name: 'audit', to: '/audit', may: ({ whole }: Who) => whole('audit.read') },
  { name: 'statistics', to: '/statistics', may: ({ me }: Who) => me.tenant.kind === 'operator' },
] as const satisfies { name: string; to: string; may(who: Who): boolean }[];

export type Area = (typeof all)[number];

/** The areas of the pages that the signed-in person has something to do with. */
export function useAreas(): readonly Area[] {
  const me = useMe();
  const may = useMay();
  return all.filter((area) => area.may({ me, ...may }));
}
