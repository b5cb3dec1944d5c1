// The audit log, as the mock server keeps it; its chain is a real one.
import { createHash } from 'node:crypto';

/** @typedef {import('../src/api/types.ts').AuditEntry} AuditEntry */

const hour = 3_600_000;
const tenant = 't-1';
const sum = (/** @type {string} */ what, /** @type {string} */ text) =>
  createHash('sha256').update(`ccc-audit-1 ${what}\n${text}`).digest('hex');

const people = [
  { kind: 'user', id: 'u-1', name: 'Anna Berger' },
  { kind: 'user', id: 'u-2', name: 'Emma Clark' },
  { kind: 'token', id: 'tok-1', name: 'Backup' },
];
const operations = [
  'signIn',
  'updateSystem',
  'createSystem',
  'controlRollout',
  'setUserRoles',
  'removeSystem',
  'createTenantGrant',
];

/** @param {number} size @param {(code: string) => Error} refuse */
export function makeAudit(size, refuse) {
  /** The oldest first, with the text that its hash is of. @type {{ entry: AuditEntry, text: string }[]} */
  const log = [];
  let prev = sum('genesis', tenant);
  for (let i = 0; i < size; i++) {
    const actor = people[i % 7 === 6 ? 2 : i % 2] ?? people[0];
    const bare = {
      seq: i + 1,
      tenant,
      at: new Date(Date.now() - (size - i) * hour).toISOString(),
      actor: /** @type {AuditEntry['actor']} */ (actor),
      operation: operations[i % operations.length] ?? 'signIn',
      outcome: /** @type {AuditEntry['outcome']} */ (i % 9 === 4 ? 'refused' : i % 23 === 7 ? 'failed' : 'done'),
      ...(i % 9 === 4 && { code: 'forbidden' }),
      ...(i % 3 === 1 && {
        resource: /** @type {AuditEntry['resource']} */ ({
          kind: 'system',
          id: `s-${i}`,
          name: 'Praxis Dr. Lindner Celle',
        }),
        serial: String(1_000_000_000 + i),
      }),
      ...(size - i < 300 && { address_until: new Date(Date.now() + (i + 1) * hour).toISOString() }),
      right: /** @type {AuditEntry['right']} */ (i % 11 === 5 ? 'break_glass' : 'home'),
      fields: i % 3 === 1 ? ['name', 'tags'] : [],
      prev,
    };
    const text = JSON.stringify(bare);
    const hash = sum('entry', text);
    const { tenant: _, ...shown } = bare;
    log.push({ entry: { ...shown, hash }, text });
    prev = hash;
  }
  /** @typedef {{ id: string, query: URLSearchParams, res: import('node:http').ServerResponse }} Call */
  /** @type {[string, RegExp, (c: Call) => unknown][]} */
  const routes = [
    [
      'GET',
      /^\/audit$/,
      ({ query }) => {
        const wants = (/** @type {string} */ name, /** @type {string | undefined} */ has) =>
          !query.get(name) || query.get(name) === has;
        const all = log
          .map(({ entry }) => entry)
          .filter(
            (e) =>
              wants('operation', e.operation) &&
              wants('outcome', e.outcome) &&
              wants('serial', e.serial) &&
              wants('user', e.actor.id) &&
              (!query.get('from') || e.at >= (query.get('from') ?? '')) &&
              (!query.get('to') || e.at < (query.get('to') ?? '')),
          )
          .reverse();
        const from = Number(query.get('cursor') ?? 0);
        const limit = Number(query.get('limit') ?? 50);
        const next = from + limit < all.length ? { next: String(from + limit) } : {};
        return { items: all.slice(from, from + limit), ...next };
      },
    ],
    [
      'GET',
      /^\/audit\/export$/,
      ({ query, res }) => {
        const csv = query.get('format') === 'csv';
        res.writeHead(200, { 'Content-Type': csv ? 'text/csv' : 'application/x-ndjson' });
        const head = Buffer.from(JSON.stringify({ seq: size, hash: prev })).toString('base64url');
        res.end(
          csv
            ? 'seq,at,operation\n'
            : [
                JSON.stringify({ audit: 1, tenant, after: 0, hash: sum('genesis', tenant), head: '' }),
                ...log.map(({ entry, text }) => `{"entry":${text},"hash":"${entry.hash}"}`),
                JSON.stringify({ head: `e.${head}.s` }),
                '',
              ].join('\n'),
        );
      },
    ],
    [
      'GET',
      /^\/audit\/(\d+)\/address$/,
      ({ id }) => {
        if (!log[Number(id) - 1]) throw refuse('not_found');
        return { state: 'known', address: '192.0.2.17' };
      },
    ],
  ];
  return { log, routes };
}
