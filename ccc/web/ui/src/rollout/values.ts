import type { SettingKey, Value, Values } from './queries';

/** A value as people type it. Entries of a list are divided by commas. */
export function textOf(value: Value | undefined): string {
  if (value === undefined) return '';
  return Array.isArray(value) ? value.join(', ') : String(value);
}

/** The value that somebody has typed; undefined where it is none of the type. */
export function parseValue(type: SettingKey['type'], text: string): Value | undefined {
  switch (type) {
    case 'integer':
      return /^-?\d{1,15}$/.test(text.trim()) ? Number(text) : undefined;
    case 'boolean':
      return text === 'true' ? true : text === 'false' ? false : undefined;
    case 'list':
      return text
        .split(',')
        .map((entry) => entry.trim())
        .filter(Boolean);
    default:
      return text;
  }
}

/** The JSON type of a value that a template has. */
export function typeOf(value: Value): SettingKey['type'] {
  if (Array.isArray(value)) return 'list';
  return typeof value === 'number' ? 'integer' : typeof value === 'boolean' ? 'boolean' : 'string';
}

export const same = (a: Value | undefined, b: Value | undefined): boolean => JSON.stringify(a) === JSON.stringify(b);

/** Those of the texts that are another value than before, by key; bad are no values of their type. */
export function changesOf(
  schema: readonly SettingKey[],
  before: Values,
  texts: Readonly<Record<string, string>>,
): { values: Values; bad: string[] } {
  const values: Values = {};
  const bad: string[] = [];
  for (const { key, type } of schema) {
    const text = texts[key];
    if (text === undefined) continue;
    const value = parseValue(type, text);
    if (value === undefined) bad.push(key);
    else if (!same(value, before[key])) values[key] = value;
  }
  return { values, bad };
}

/** The systems of all rings in some states. */
export function countOf(rings: readonly { states: Record<string, number> }[], ...states: string[]): number {
  return rings.reduce((sum, ring) => sum + states.reduce((n, state) => n + (ring.states[state] ?? 0), 0), 0);
}
