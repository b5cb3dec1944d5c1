import { queryOptions } from '@tanstack/react-query';
import { createContext, useContext } from 'react';
import { api, ask, call } from '../api/client';
import type { Me, Meta } from '../api/types';
import { setServerTime } from '../time/clock';

export const metaQuery = queryOptions({
  queryKey: ['meta'],
  queryFn: async () => {
    const meta = await call(api.GET('/meta'));
    setServerTime(meta.now);
    return meta;
  },
  staleTime: Number.POSITIVE_INFINITY,
});

export const MetaContext = createContext<Meta | null>(null);

export function useMeta(): Meta {
  const meta = useContext(MetaContext);
  if (!meta) throw new Error('used before the brand is known');
  return meta;
}

/** Who is signed in; throws unauthenticated where nobody is. */
export const sessionQuery = queryOptions({
  queryKey: ['session'],
  queryFn: () => ask(api.GET('/session')),
  staleTime: Number.POSITIVE_INFINITY,
  retry: false,
});

export const MeContext = createContext<Me | null>(null);

export function useMe(): Me {
  const me = useContext(MeContext);
  if (!me) throw new Error('used where nobody is signed in');
  return me;
}

export type Verb = Me['verbs'][number];

/** Tells what the signed-in person may do to the whole tenant, and to a part of it at least. */
export function useMay(): { whole(verb: Verb): boolean; some(verb: Verb): boolean } {
  const { verbs, some_verbs } = useMe();
  const whole = (verb: Verb) => verbs.includes(verb);
  return { whole, some: (verb) => whole(verb) || some_verbs.includes(verb) };
}

/** What the signed-in person may do; the server decides, this only hides what it would refuse. */
export function useRights(): { write: boolean; remove: boolean } {
  const { some } = useMay();
  return { write: some('system.write'), remove: some('system.delete') };
}
