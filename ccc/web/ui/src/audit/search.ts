import { isSerial } from '../serial';

export const outcomes = ['done', 'refused', 'failed'] as const;

/** The filter in an address of the page. */
export interface AuditSearch {
  user?: string;
  operation?: string;
  serial?: string;
  outcome?: (typeof outcomes)[number];
  /** Days, as in 2026-11-26, of the browser's zone; to is in it. */
  from?: string;
  to?: string;
}

const day = /^\d{4}-\d\d-\d\d$/;

/** Reads the filter in an address. */
export function parseAuditSearch(search: Record<string, unknown>): AuditSearch {
  const outcome = outcomes.find((o) => o === search.outcome);
  const serial = String(search.serial ?? '').padStart(10, '0');
  const text = (name: 'user' | 'operation', form: RegExp) => {
    const value = search[name];
    return typeof value === 'string' && form.test(value) ? { [name]: value } : {};
  };
  const date = (name: 'from' | 'to') => {
    const value = search[name];
    return typeof value === 'string' && day.test(value) && !Number.isNaN(Date.parse(value)) ? { [name]: value } : {};
  };
  return {
    ...text('user', /^[\w-]{1,64}$/),
    ...text('operation', /^[A-Za-z][\w.]{0,99}$/),
    ...(search.serial !== undefined && isSerial(serial) && { serial }),
    ...(outcome && { outcome }),
    ...date('from'),
    ...date('to'),
  };
}

/** What the server is asked for. */
export function queryOf({ from, to, ...rest }: AuditSearch) {
  return {
    ...rest,
    ...(from && { from: midnight(from, 0) }),
    ...(to && { to: midnight(to, 1) }),
  };
}

/** The beginning of a day in the browser's zone, or of one that is days later. */
function midnight(date: string, days: number): string {
  const [year = 0, month = 1, dayOfMonth = 1] = date.split('-').map(Number);
  return new Date(year, month - 1, dayOfMonth + days).toISOString();
}
