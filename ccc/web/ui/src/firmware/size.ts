import type { Language } from '../api/types';
import { localeOf } from '../time/format';

/** A number of bytes, as people say it. */
export function sizeText(bytes: number, language: Language): string {
  const megabytes = bytes / 1e6;
  return new Intl.NumberFormat(localeOf(language), {
    style: 'unit',
    unit: 'megabyte',
    maximumFractionDigits: megabytes < 10 ? 1 : 0,
  }).format(megabytes);
}
