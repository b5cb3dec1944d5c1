import type { Language } from '../api/types';

/** Whole seconds until an instant, rounded up: 0 only once it is over. */
export function secondsLeft(until: string, now: number): number {
  const ms = Date.parse(until) - now;
  return Number.isFinite(ms) ? Math.max(0, Math.ceil(ms / 1000)) : 0;
}

/** Seconds as a count-down: 9:05, 23:59:12. */
export function countdown(seconds: number): string {
  const two = (n: number) => String(n).padStart(2, '0');
  const h = Math.floor(seconds / 3600);
  const m = Math.floor(seconds / 60) % 60;
  return h > 0 ? `${h}:${two(m)}:${two(seconds % 60)}` : `${m}:${two(seconds % 60)}`;
}

const units = [
  ['days', 86_400],
  ['hours', 3600],
  ['minutes', 60],
] as const;

/** How long ago an instant was, in its largest unit; null: less than a minute. */
export function elapsed(since: string, now: number): { unit: 'days' | 'hours' | 'minutes'; count: number } | null {
  const seconds = (now - Date.parse(since)) / 1000;
  for (const [unit, size] of units) {
    if (seconds >= size) return { unit, count: Math.floor(seconds / size) };
  }
  return null;
}

const regions: Record<Language, string> = { de: 'de-DE', en: 'en-GB', fr: 'fr-FR' };

/** The browser's own form of a language, such as en-US; else the one that Europe uses. */
export function localeOf(language: Language): string {
  return navigator.languages.find((l) => l.startsWith(`${language}-`)) ?? regions[language];
}

/** Date and time as people write them, to the minute; with the zone where asked. */
export function dateTime(at: string, language: Language, zone = false): string {
  const date = new Date(at);
  if (Number.isNaN(date.getTime())) return '';
  return cached(
    `dt ${language} ${zone}`,
    () =>
      new Intl.DateTimeFormat(localeOf(language), {
        day: 'numeric',
        month: 'short',
        year: 'numeric',
        hour: '2-digit',
        minute: '2-digit',
        ...(zone && { timeZoneName: 'short' }),
      }),
  ).format(date);
}

/** The time of day, to the minute. */
export function timeOfDay(at: string | number, language: Language): string {
  return cached(
    `t ${language}`,
    () => new Intl.DateTimeFormat(localeOf(language), { hour: '2-digit', minute: '2-digit' }),
  ).format(new Date(at));
}

/** A whole number with the language's separators. */
export function count(n: number, language: Language): string {
  return cached(`n ${language}`, () => new Intl.NumberFormat(localeOf(language))).format(n);
}

/** A round trip: "0.4 ms", "18 ms". */
export function milliseconds(ms: number, language: Language): string {
  const digits = ms < 10 ? 1 : 0;
  return cached(
    `ms ${language} ${digits}`,
    () =>
      new Intl.NumberFormat(localeOf(language), { style: 'unit', unit: 'millisecond', maximumFractionDigits: digits }),
  ).format(ms);
}

const formats = new Map<string, unknown>();

// The making of these objects takes longer than all that they ever do.
function cached<T>(key: string, make: () => T): T {
  let format = formats.get(key) as T | undefined;
  if (!format) {
    format = make();
    formats.set(key, format);
  }
  return format;
}
