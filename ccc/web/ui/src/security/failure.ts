import type { TFunction } from 'i18next';
import { problemText } from '../api/problemText';
import { NoPasskey } from './passkeys';

/** As problemText, also for what the browser did not give. */
export function failureText(t: TFunction, thrown: unknown): string {
  return thrown instanceof NoPasskey ? t('security.passkeyFailed') : problemText(t, thrown);
}
