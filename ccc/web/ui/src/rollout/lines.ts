import type { Value, Values } from './queries';

/** A value as a line has it: as JSON, or a text without quotes where that is nothing else. */
function parse(text: string): Value | undefined {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return text;
  }
  if (typeof value === 'string' || typeof value === 'boolean') return value;
  if (typeof value === 'number') return Number.isSafeInteger(value) ? value : undefined;
  if (Array.isArray(value) && value.every((entry) => typeof entry === 'string')) return value;
  return undefined;
}

/** Settings of lines as "ntp_server = pool.ntp.org"; wrong is the first line that is none, from 1; 0: all are. */
export function parseLines(text: string): { values: Values; wrong: number } {
  const values: Values = {};
  let wrong = 0;
  for (const [i, line] of text.split('\n').entries()) {
    if (!line.trim()) continue;
    const [, key = '', rest = ''] = /^\s*([a-z][a-z0-9_]{0,39})\s*[=:]\s*(.*?)\s*$/.exec(line) ?? [];
    const value = parse(rest);
    if (!key || value === undefined || key in values) wrong ||= i + 1;
    else values[key] = value;
  }
  return { values, wrong };
}

/** The lines of settings. */
export function textOfLines(settings: Record<string, unknown>): string {
  return Object.entries(settings)
    .map(([key, value]) => {
      const plain = typeof value === 'string' && value !== '' && parse(value) === value && value.trim() === value;
      return `${key} = ${plain ? value : JSON.stringify(value)}`;
    })
    .join('\n');
}
