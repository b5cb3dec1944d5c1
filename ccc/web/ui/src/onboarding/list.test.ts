// @vitest-environment jsdom
import { describe, expect, it, vi } from 'vitest';
import type { ImportLine } from '../api/types';
import { faultyLines, sendList, textOf } from './list';

const line = (n: number, outcome: ImportLine['outcome']): ImportLine => ({
  line: n,
  serial: '',
  name: '',
  outcome,
  errors: [],
});

describe('faultyLines', () => {
  it('keeps the headings and what was not taken, with line breaks in fields', () => {
    const text = 'serial,name,note\r\n1,One,\r\n2,Two,"a\r\nb"\r\n\r\n3,Three,\r\n4,Four,\r\n';
    const lines = [line(2, 'created'), line(3, 'invalid'), line(6, 'exists'), line(7, 'refused')];
    expect(faultyLines(text, lines)).toBe('serial,name,note\r\n2,Two,"a\r\nb"\r\n4,Four,\r\n');
  });
});

describe('textOf', () => {
  it('reads UTF-8, and what older spreadsheets write', () => {
    expect(textOf(new TextEncoder().encode('Müller'))).toBe('Müller');
    expect(textOf(new Uint8Array([0x4d, 0xfc]))).toBe('Mü');
  });
});

describe('sendList', () => {
  const summary = {
    dry_run: false,
    lines: 1,
    created: 1,
    exists: 0,
    invalid: 0,
    refused: 0,
    columns: [],
    ignored: [],
    new_sites: [],
    new_groups: [],
  };
  const answer = (events: object[], status = 200) => {
    const bytes = new TextEncoder().encode(events.map((e) => `${JSON.stringify(e)}\n`).join(''));
    const body = new ReadableStream<Uint8Array>({
      start(c) {
        for (let i = 0; i < bytes.length; i += 7) c.enqueue(bytes.slice(i, i + 7));
        c.close();
      },
    });
    vi.stubGlobal('fetch', async () => new Response(body, { status }));
  };
  const send = () => sendList('x', { dryRun: false, create: false }, () => {});

  it('puts the events together, however they come', async () => {
    answer([{ total: 1 }, { line: line(2, 'created') }, { summary }]);
    expect(await send()).toEqual({ summary, lines: [line(2, 'created')] });
  });

  it('tells of an answer that was cut off, or ended with a problem', async () => {
    answer([{ total: 1 }, { line: line(2, 'created') }]);
    await expect(send()).rejects.toMatchObject({ code: 'network' });
    answer([{ total: 1 }, { problem: { code: 'unavailable', status: 503, title: '' } }]);
    await expect(send()).rejects.toMatchObject({ code: 'unavailable' });
    answer([{ code: 'forbidden', status: 403, title: '' }], 403);
    await expect(send()).rejects.toMatchObject({ code: 'forbidden' });
  });
});
