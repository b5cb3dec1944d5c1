import type { TFunction } from 'i18next';
import { type ApiError, asApiError, fieldError } from './problem';
import type { FieldError } from './types';

/** What a problem says to people, in their language. */
export function problemText(t: TFunction, thrown: unknown): string {
  const error = asApiError(thrown);
  if (error.retryAfter && error.status === 429) {
    const minutes = Math.ceil(error.retryAfter / 60);
    const wait = minutes > 1 ? t('problem_wait.minutes', { count: minutes }) : t('problem_wait.soon');
    return `${t(`problem.${error.code}`)} ${wait}`;
  }
  return t(`problem.${error.code}`);
}

export function fieldText(t: TFunction, error: FieldError): string {
  return t(`field.${error.code}`);
}

/** The texts for those of the fields that the server found wrong, for a form. */
export function fieldTexts(t: TFunction, error: ApiError, fields: readonly string[]): Record<string, string> {
  const texts: Record<string, string> = {};
  for (const field of fields) {
    const wrong = fieldError(error, field);
    if (wrong) texts[field] = fieldText(t, wrong);
  }
  return texts;
}
