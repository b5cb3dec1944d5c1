import type { TFunction } from 'i18next';
import type { ApiError } from '../api/problem';
import { problemText } from '../api/problemText';
import type { ImportLine } from '../api/types';

type Fault = ImportLine['errors'][number];

/** What is wrong with a line, in words. */
export function faultText(t: TFunction, fault: Fault): string {
  if (fault.column === 'serial' && fault.code === 'pattern') return t('onboarding.serialPattern');
  if (fault.code === 'duplicate') return t('onboarding.duplicate', { line: fault.other_line ?? 0 });
  const text = t(`onboarding.fault.${fault.code}`);
  return fault.column ? `${t(`onboarding.column.${fault.column}`)}: ${text}` : text;
}

/** Why a list was not read at all. */
export function listFault(t: TFunction, error: ApiError): string {
  const code = error.code === 'invalid' ? error.fields[0]?.code : undefined;
  switch (code) {
    case 'required':
      return t('onboarding.unreadable.required');
    case 'too_many':
      return t('onboarding.unreadable.too_many');
    case 'duplicate':
      return t('onboarding.unreadable.duplicate');
    case 'pattern':
      return t('onboarding.unreadable.pattern');
    default:
      return problemText(t, error);
  }
}
