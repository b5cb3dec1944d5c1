import type { Language } from '../api/types';
import { localeOf } from '../time/format';

const units = ['byte', 'kilobyte', 'megabyte', 'gigabyte', 'terabyte'] as const;

/** A number of bytes in its largest unit: "512 byte", "1.4 MB". */
export function bytes(n: number, language: Language): string {
  let unit = 0;
  while (n >= 1000 && unit < units.length - 1) {
    n /= 1000;
    unit++;
  }
  return new Intl.NumberFormat(localeOf(language), {
    style: 'unit',
    unit: units[unit] ?? 'byte',
    maximumFractionDigits: n < 10 && unit > 0 ? 1 : 0,
  }).format(n);
}
