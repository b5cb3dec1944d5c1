import type { Language } from '../api/types';
import { localeOf } from '../time/format';

const units = [
  ['day', 86_400_000],
  ['hour', 3_600_000],
  ['minute', 60_000],
  ['second', 1000],
] as const;

/** A time span in its two largest units: "3 days, 4 hr", "12 min", "0 sec". */
export function durationText(ms: number, language: Language): string {
  let rest = Math.max(0, Math.round(ms / 1000) * 1000);
  const first = units.findIndex(([, size]) => rest >= size);
  if (first < 0) return unit(0, 'second', language);
  const texts: string[] = [];
  for (const [name, size] of units.slice(first, first + 2)) {
    const n = Math.floor(rest / size);
    rest -= n * size;
    if (n > 0) texts.push(unit(n, name, language));
  }
  return texts.join(' ');
}

function unit(n: number, name: (typeof units)[number][0], language: Language): string {
  return new Intl.NumberFormat(localeOf(language), { style: 'unit', unit: name, unitDisplay: 'short' }).format(n);
}

/** A share of a hundred; what is less than all is not rounded up to it. */
export function percentText(percent: number, language: Language): string {
  const shown = percent < 100 ? Math.min(percent, 99.99) : 100;
  return new Intl.NumberFormat(localeOf(language), {
    style: 'percent',
    maximumFractionDigits: shown >= 99 ? 2 : 1,
  }).format(shown / 100);
}
