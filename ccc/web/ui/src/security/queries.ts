import { queryOptions } from '@tanstack/react-query';
import { api, ask, call } from '../api/client';

export const factorsQuery = queryOptions({
  queryKey: ['account', 'factors'],
  queryFn: () => ask(api.GET('/account/factors')),
  retry: false,
});

export const passkeysQuery = queryOptions({
  queryKey: ['account', 'passkeys'],
  queryFn: () => call(api.GET('/account/passkeys')),
});

export const providersQuery = queryOptions({
  queryKey: ['account', 'providers'],
  queryFn: () => call(api.GET('/account/providers')),
});

export const sessionsQuery = queryOptions({
  queryKey: ['account', 'sessions'],
  queryFn: () => call(api.GET('/account/sessions')),
});

export const tokensQuery = queryOptions({
  queryKey: ['account', 'tokens'],
  queryFn: () => call(api.GET('/account/tokens')),
});
