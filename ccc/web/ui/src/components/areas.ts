import type { Me } from '../api/types';
import { useMe } from '../app/meta';

interface Who {
  me: Me;
  /** What is done to the whole tenant. */
  whole(verb: Me['verbs'][number]): boolean;
  /** What is done to a part of it at least. */
  some(verb: Me['verbs'][number]): boolean;
}

/** All areas in their order, and who has something to do with each. Their names are nav.<name>. */
const all = [
  { name: 'systems', to: '/', may: () => true },
  { name: 'remote', to: '/remote', may: ({ whole }: Who) => whole('remote.read') },
  { name: 'statistics', to: '/statistics', may: ({ me }: Who) => me.tenant.kind === 'operator' },
] as const satisfies { name: string; to: string; may(who: Who): boolean }[];

export type Area = (typeof all)[number];

/** The areas of the pages that the signed-in person has something to do with. */
export function useAreas(): readonly Area[] {
  const me = useMe();
  const whole: Who['whole'] = (verb) => me.verbs.includes(verb);
  const who: Who = { me, whole, some: (verb) => whole(verb) || me.some_verbs.includes(verb) };
  return all.filter(({ may }) => may(who));
}
