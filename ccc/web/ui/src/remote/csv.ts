import type { RemoteSession } from '../api/types';

const columns = [
  'id',
  'serial',
  'system_id',
  'user',
  'reason',
  'service',
  'target',
  'minutes',
  'state',
  'cause',
  'consent',
  'requested_at',
  'started_at',
  'ended_at',
  'bytes_in',
  'bytes_out',
] as const;

/** One field. What a spreadsheet would take for a formula is made a text, and so nothing runs there. */
export function field(value: string): string {
  // Some divide at ";" or tabs, and see fields where there are none.
  const inner = value.replace(/([;,\t]\s*)(?=[=+\-@])/g, "$1'");
  const safe = /^[\s]*[=+\-@\t\r]/.test(inner) ? `'${inner}` : inner;
  return /[",\r\n]/.test(safe) || safe !== safe.trim() ? `"${safe.replaceAll('"', '""')}"` : safe;
}

/** The records as a table that spreadsheets read (RFC 4180), with times in UTC. */
export function csvOf(records: readonly RemoteSession[]): string {
  const line = (s: RemoteSession) =>
    columns.map((c) => field(c === 'user' ? s.user.name : c in s ? String(s[c] ?? '') : '')).join(',');
  // The mark tells spreadsheets that it is UTF-8.
  return `\ufeff${[columns.join(','), ...records.map(line)].join('\r\n')}\r\n`;
}
