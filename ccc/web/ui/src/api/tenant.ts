import { defaultParseSearch } from '@tanstack/react-router';

/** What addresses say about the tenant; absent: the own one. */
export interface TenantSearch {
  tenant?: string;
}

/** Reads the tenant in the search of an address. */
export function parseTenantSearch(search: Record<string, unknown>): TenantSearch {
  const { tenant } = search;
  return typeof tenant === 'string' && /^[\w-]{1,64}$/.test(tenant) ? { tenant } : {};
}

/**
 * The tenant that this document works in, where it is not the person's own. It stays as it
 * is: another one is another document, so that nothing of the one is left in the other.
 */
export const workingIn = parseTenantSearch(defaultParseSearch(globalThis.location?.search ?? '')).tenant;

/** The headers of a request that does not go through api. */
export const tenantHeaders: Readonly<Record<string, string>> = workingIn ? { 'Auer-Tenant': workingIn } : {};

/** Gives the address of a page in another tenant; undefined: in the own one. */
export function inTenant(path: string, tenant: string | undefined): string {
  return tenant ? `${path}${path.includes('?') ? '&' : '?'}tenant=${encodeURIComponent(tenant)}` : path;
}

let gone: () => void = () => {};

/** Sets what happens when it is heard that the tenant cannot be seen any more. */
export function onTenantGone(f: () => void): void {
  gone = f;
}

export function tenantGone(): void {
  gone();
}
