import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { verifyExport } from './verify';

// The entry that the server's test of the canonical form has, too.
const [canonical = '', hash = ''] = readFileSync('../../audit/testdata/entry.golden', 'utf8').split('\n');
const entry = JSON.parse(canonical) as { prev: string };
const head = (seq: number, of: string) => `e.${btoa(JSON.stringify({ seq, hash: of }))}.s`;
const start = JSON.stringify({ audit: 1, tenant: 't1', after: 0, hash: entry.prev, head: '' });
const line = `{"entry":${canonical},"hash":"${hash}"}`;
const file = (...lines: string[]) => `${lines.join('\n')}\n`;

test('a chain of the server is good', async () => {
  const end = JSON.stringify({ head: head(1, hash) });
  expect(await verifyExport(file(start, line, end))).toEqual({ good: true, entries: 1, seq: 1 });
});

test('what was changed, removed or added is found', async () => {
  const end = JSON.stringify({ head: head(1, hash) });
  for (const text of [
    file(start, line.replace('group g0', 'group g1'), end),
    file(start, end),
    file(start, line, line, end),
    file(start.replace('t1', 't2'), line, end),
    file(start, line, JSON.stringify({ head: head(2, hash) })),
    file(start, line),
    '',
  ]) {
    expect((await verifyExport(text)).good, text).toBe(false);
  }
});
