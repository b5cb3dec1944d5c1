import { infiniteQueryOptions, queryOptions, useQueryClient } from '@tanstack/react-query';
import { useEffect } from 'react';
import { api, call } from '../api/client';
import type { components } from '../api/generated/schema';
import { fleet, useStream } from '../fleet/store';

type Schemas = components['schemas'];

export type Configuration = Schemas['Configuration'];
export type SettingKey = Schemas['SettingKey'];
export type SettingChange = Schemas['SettingChange'];
export type Rollout = Schemas['Rollout'];
export type RolloutDevice = Schemas['RolloutDevice'];
export type RolloutDiff = Schemas['RolloutDiff'];
export type Template = Schemas['Template'];
export type Action = Schemas['RolloutControl']['action'];

/** A setting: a text, a whole number, true or false, or a list of texts. */
export type Value = string | number | boolean | string[];
export type Values = Record<string, Value>;

/** What the server says of settings has only such values. */
export const valuesOf = (settings: Record<string, unknown>): Values => settings as Values;

export const configurationQuery = (id: string) =>
  queryOptions({
    queryKey: ['configuration', id],
    queryFn: ({ signal }) => call(api.GET('/systems/{id}/configuration', { params: { path: { id } }, signal })),
    retry: false,
    // What somebody is changing is not exchanged under the hands.
    staleTime: Number.POSITIVE_INFINITY,
    gcTime: 0,
  });

export const templatesQuery = queryOptions({
  queryKey: ['templates'],
  queryFn: async () => (await call(api.GET('/templates'))).items,
  refetchOnWindowFocus: true,
});

const paged = { initialPageParam: '', getNextPageParam: (page: { next?: string }) => page.next } as const;

export const rolloutsQuery = infiniteQueryOptions({
  queryKey: ['rollouts', 'list'],
  queryFn: ({ pageParam, signal }) =>
    call(api.GET('/rollouts', { params: { query: { limit: 50, ...(pageParam && { cursor: pageParam }) } }, signal })),
  ...paged,
});

export const rolloutQuery = (id: string) =>
  queryOptions({
    queryKey: ['rollouts', 'one', id],
    queryFn: ({ signal }) => call(api.GET('/rollouts/{id}', { params: { path: { id } }, signal })),
    // Also where live events do not come.
    refetchInterval: 15_000,
  });

export const diffsQuery = (id: string) =>
  queryOptions({
    queryKey: ['rollouts', 'diffs', id],
    queryFn: async ({ signal }) =>
      (await call(api.GET('/rollouts/{id}/diffs', { params: { path: { id } }, signal }))).items,
  });

export const devicesQuery = (id: string, state: RolloutDevice['state'][]) =>
  infiniteQueryOptions({
    queryKey: ['rollouts', 'devices', id, state],
    queryFn: ({ pageParam, signal }) =>
      call(
        api.GET('/rollouts/{id}/systems', {
          params: { path: { id }, query: { limit: 100, state, ...(pageParam && { cursor: pageParam }) } },
          signal,
        }),
      ),
    ...paged,
  });

/** Rollouts are asked for anew at most once in so many milliseconds. */
const rate = 1000;

/** Asks anew for rollouts when one progresses, or may have progressed unheard. */
export function useRolloutsLive(): void {
  const queryClient = useQueryClient();
  const live = useStream().state === 'live';
  useEffect(() => {
    if (live) void queryClient.invalidateQueries({ queryKey: ['rollouts'] });
  }, [live, queryClient]);
  useEffect(() => {
    let timer: ReturnType<typeof setTimeout> | undefined;
    const end = fleet.onEvent((message) => {
      if (message.event !== 'rollout' && message.event !== 'reset') return;
      timer ??= setTimeout(() => {
        timer = undefined;
        void queryClient.invalidateQueries({ queryKey: ['rollouts'] });
      }, rate);
    });
    return () => {
      end();
      clearTimeout(timer);
    };
  }, [queryClient]);
}
