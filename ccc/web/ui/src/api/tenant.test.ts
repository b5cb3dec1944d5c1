// @vitest-environment jsdom
import { afterEach, expect, it, vi } from 'vitest';
import { inTenant, parseTenantSearch } from './tenant';

afterEach(() => {
  vi.resetModules();
  vi.unstubAllGlobals();
  history.replaceState(null, '', '/');
});

it('reads only what can be an id', () => {
  expect(parseTenantSearch({ tenant: '0199a-b_c' })).toEqual({ tenant: '0199a-b_c' });
  for (const tenant of ['', 'a b', '../x', 'x'.repeat(65), 7, null, ['a'], undefined])
    expect(parseTenantSearch({ tenant })).toEqual({});
});

it('puts it into addresses', () => {
  expect(inTenant('/', 'a')).toBe('/?tenant=a');
  expect(inTenant('/remote/s?label=l', 'a')).toBe('/remote/s?label=l&tenant=a');
  expect(inTenant('/remote', undefined)).toBe('/remote');
});

it('sends it with each request, and nothing in the own tenant', async () => {
  const sent: (string | null)[] = [];
  vi.stubGlobal('fetch', async (request: Request) => {
    sent.push(request.headers.get('Auer-Tenant'));
    return new Response('{"items":[]}', { status: 200 });
  });
  for (const path of ['/?tenant=north-1', '/']) {
    history.replaceState(null, '', path);
    vi.resetModules();
    const { api } = await import('./client');
    await api.GET('/sites');
    await api.GET('/sites', { headers: { 'Auer-Tenant': 'home' } });
  }
  expect(sent).toEqual(['north-1', 'home', null, 'home']);
});
