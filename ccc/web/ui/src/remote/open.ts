// The way of a browser to the gateway: from a page it begins there, comes back to the page
// /remote/<session> with a label, gets a grant, and posts that to the gateway.
import { workingIn } from '../api/tenant';
import type { RemoteSession, RemoteTicket } from '../api/types';

const key = 'ccc-remote-open';

/** How long the way to the gateway and back may take, in milliseconds. */
const onTheWay = 120_000;

/** Begins at the gateway. Who comes back in this tab need not say once more that he wants in. */
export function begin(s: RemoteSession): void {
  if (!s.start_url) return;
  try {
    sessionStorage.setItem(key, JSON.stringify({ session: s.id, at: Date.now(), tenant: workingIn }));
  } catch {
    // The browser keeps nothing for this site: it costs one more click.
  }
  location.assign(s.start_url);
}

interface Begun {
  session?: unknown;
  at?: unknown;
  tenant?: unknown;
}

/** What this tab has begun with a session just now; null: nothing. */
function begunWith(session: string, now: number): Begun | null {
  try {
    const begun = JSON.parse(sessionStorage.getItem(key) ?? 'null') as Begun | null;
    const fits = begun?.session === session && typeof begun.at === 'number';
    return fits && now - Number(begun.at) < onTheWay && now >= Number(begun.at) ? begun : null;
  } catch {
    return null;
  }
}

/** The tenant, other than the own one, in which this tab has begun with a session just now. */
export function tenantOf(session: string, now = Date.now()): string | undefined {
  const tenant = begunWith(session, now)?.tenant;
  return typeof tenant === 'string' ? tenant : undefined;
}

/** Whether this tab has begun with a session just now; true once. */
export function hasBegun(session: string, now = Date.now()): boolean {
  const begun = begunWith(session, now) !== null;
  try {
    sessionStorage.removeItem(key);
  } catch {
    // It was not kept either.
  }
  return begun;
}

/** Lets the browser in: the grant goes into the body of a form, never into an address. */
export function enter(ticket: RemoteTicket): void {
  const form = document.createElement('form');
  form.method = 'post';
  form.action = ticket.url;
  form.hidden = true;
  const field = document.createElement('input');
  field.type = 'hidden';
  field.name = 'grant';
  field.value = ticket.grant;
  form.append(field);
  document.body.append(form);
  form.submit();
  // Not left in a page that the browser may show again.
  form.remove();
}
