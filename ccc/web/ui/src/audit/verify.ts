/** What a look through an export has found. */
export interface Verified {
  good: boolean;
  entries: number;
  /** The last entry that is good, or the first that is not. */
  seq: number;
}

interface Line {
  audit?: number;
  tenant?: string;
  after?: number;
  hash?: string;
  head?: string;
  entry?: { seq: number; prev: string; tenant: string };
}

/**
 * Looks through the chain of an export, as "ccc audit verify" does, without the
 * signatures: the browser does not know whom to trust.
 */
export async function verifyExport(text: string): Promise<Verified> {
  const lines = text.split('\n').filter((line) => line !== '');
  const start = parse(lines.shift());
  const end = parse(lines.pop());
  const tenant = start?.tenant ?? '';
  let seq = start?.after ?? 0;
  let hash = start?.hash ?? '';
  if (!start?.audit || (seq === 0 && hash !== (await sum('genesis', tenant)))) {
    return { good: false, entries: 0, seq: 1 };
  }
  let entries = 0;
  for (const line of lines) {
    const parsed = parse(line);
    const canonical = /^\{"entry":(\{.*\}),"hash":"[0-9a-f]{64}"\}$/.exec(line)?.[1];
    const e = parsed?.entry;
    const fits = e && canonical && e.seq === seq + 1 && e.prev === hash && e.tenant === tenant;
    if (!fits || (await sum('entry', canonical)) !== parsed.hash) return { good: false, entries, seq: seq + 1 };
    entries++;
    seq = e.seq;
    hash = parsed.hash ?? '';
  }
  const head = headOf(end?.head);
  return { good: head?.seq === seq && head.hash === hash, entries, seq };
}

function parse(line: string | undefined): Line | undefined {
  try {
    return JSON.parse(line ?? '') as Line;
  } catch {
    return undefined;
  }
}

function headOf(jws: string | undefined): { seq: number; hash: string } | undefined {
  const payload = jws?.split('.')[1]?.replaceAll('-', '+').replaceAll('_', '/');
  try {
    return JSON.parse(atob(payload ?? '')) as { seq: number; hash: string };
  } catch {
    return undefined;
  }
}

async function sum(what: 'genesis' | 'entry', text: string): Promise<string> {
  const bytes = new TextEncoder().encode(`ccc-audit-1 ${what}\n${text}`);
  const digest = new Uint8Array(await crypto.subtle.digest('SHA-256', bytes));
  return Array.from(digest, (b) => b.toString(16).padStart(2, '0')).join('');
}
