import createClient from 'openapi-fetch';
import type { paths } from './generated/schema';
import { ApiError, asApiError, errorOf } from './problem';
import { tenantHeaders } from './tenant';

export const apiBase = '/api/v1';

/** Calls the API; use it through call, which throws where the answer is not 2xx. */
export const api = createClient<paths>({
  baseUrl: location.origin + apiBase,
  headers: tenantHeaders,
  // The tests give the page another fetch.
  fetch: (request) => globalThis.fetch(request),
});

let unauthenticated: () => void = () => {};

/** Sets what happens when an answer says that nobody is signed in any more. */
export function onUnauthenticated(f: () => void): void {
  unauthenticated = f;
}

/** Tells that the session has ended; for those who do not go through call. */
export function sessionEnded(): void {
  unauthenticated();
}

/** As call, but for those who find out whether anybody is signed in. */
export async function ask<T>(answer: Promise<{ data?: T; error?: unknown; response: Response }>): Promise<T> {
  let result: Awaited<typeof answer>;
  try {
    result = await answer;
  } catch (thrown) {
    if (thrown instanceof DOMException && thrown.name === 'AbortError') throw thrown;
    throw asApiError(thrown);
  }
  if (!result.response.ok) throw errorOf(result.response, result.error);
  return result.data as T;
}

/** Waits for an answer of api and gives its body; throws an ApiError. */
export async function call<T>(answer: Promise<{ data?: T; error?: unknown; response: Response }>): Promise<T> {
  try {
    return await ask(answer);
  } catch (thrown) {
    if (thrown instanceof ApiError && thrown.code === 'unauthenticated') unauthenticated();
    throw thrown;
  }
}

/** A key with which a request that is sent twice is done once. */
export function idempotencyKey(): string {
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (b) => b.toString(16).padStart(2, '0')).join('');
}
