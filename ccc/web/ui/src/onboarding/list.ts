import { apiBase, sessionEnded } from '../api/client';
import { ApiError, asApiError, errorOf } from '../api/problem';
import { tenantHeaders } from '../api/tenant';
import type { ImportEvent, ImportLine, ImportReport, ImportSummary } from '../api/types';

export interface ImportOptions {
  dryRun: boolean;
  /** Sites and groups that are not there are made. */
  create: boolean;
}

/** The text of a spreadsheet's file, which is not always UTF-8. */
export function textOf(bytes: ArrayBuffer | Uint8Array<ArrayBuffer>): string {
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  } catch {
    return new TextDecoder('windows-1252').decode(bytes);
  }
}

/**
 * Sends a list; onLines hears of its lines as they are done, and of how many there are.
 * Throws an ApiError, also where only a part of the list was done: it can be sent again.
 */
export async function sendList(
  text: string,
  { dryRun, create }: ImportOptions,
  onLines: (done: readonly ImportLine[], total: number) => void,
): Promise<ImportReport> {
  const query = new URLSearchParams({ dry_run: String(dryRun), missing: create ? 'create' : 'refuse' });
  let response: Response;
  try {
    response = await fetch(`${apiBase}/onboarding?${query}`, {
      method: 'POST',
      headers: { ...tenantHeaders, 'Content-Type': 'text/csv; charset=utf-8', Accept: 'application/x-ndjson' },
      body: text,
    });
  } catch (thrown) {
    throw asApiError(thrown);
  }
  if (!response.ok || !response.body) {
    const error = errorOf(response, await response.json().catch(() => undefined));
    if (error.code === 'unauthenticated') sessionEnded();
    throw error;
  }
  const lines: ImportLine[] = [];
  let summary: ImportSummary | undefined;
  let total = 0;
  try {
    for await (const event of events(response.body)) {
      total = event.total ?? total;
      if (event.line) lines.push(event.line);
      if (event.problem) throw new ApiError(event.problem.code, event.problem.status);
      summary = event.summary ?? summary;
      onLines(lines, total);
    }
  } catch (thrown) {
    throw asApiError(thrown);
  }
  if (!summary) throw new ApiError('network');
  return { summary, lines };
}

/** The events of a body, one a line. */
async function* events(body: ReadableStream<Uint8Array>): AsyncGenerator<ImportEvent> {
  const reader = body.getReader();
  const decoder = new TextDecoder();
  let rest = '';
  for (;;) {
    const { done, value } = await reader.read();
    rest += decoder.decode(value, { stream: !done });
    const whole = rest.split('\n');
    rest = whole.pop() ?? '';
    for (const line of whole) if (line) yield JSON.parse(line) as ImportEvent;
    if (done) return;
  }
}

/** Whether a line was not taken. */
export function isFaulty(line: ImportLine): boolean {
  return line.outcome === 'invalid' || line.outcome === 'refused';
}

/** The list with its headings and those lines alone that were not taken, as they were typed. */
export function faultyLines(text: string, lines: readonly ImportLine[]): string {
  const all = text.split('\n');
  const first = lines[0]?.line ?? all.length + 1;
  const kept = all.slice(0, first - 1);
  lines.forEach((line, i) => {
    const end = (lines[i + 1]?.line ?? all.length + 1) - 1;
    if (isFaulty(line)) kept.push(...all.slice(line.line - 1, end).filter((l) => l.trim() !== ''));
  });
  return `${kept.join('\n')}\n`;
}

/** Gives the browser a file to save. */
export function saveFile(name: string, content: Blob): void {
  const url = URL.createObjectURL(content);
  const link = document.createElement('a');
  link.href = url;
  link.download = name;
  link.click();
  URL.revokeObjectURL(url);
}

/** Gives the browser a list to save; the mark tells spreadsheets that it is UTF-8. */
export function saveList(name: string, text: string): void {
  const marked = text.startsWith('\ufeff') ? text : `\ufeff${text}`;
  saveFile(name, new Blob([marked], { type: 'text/csv;charset=utf-8' }));
}
