import { type NotificationData, notifications } from '@mantine/notifications';
import i18next from 'i18next';
import { useCallback } from 'react';
import { asApiError } from '../api/problem';
import { problemText } from '../api/problemText';
import { useText } from '../i18n';

function show(data: NotificationData): void {
  notifications.show({ closeButtonProps: { 'aria-label': i18next.t('common.close') }, ...data });
}

/** Says that something was done. */
export function tell(message: string): void {
  show({ message, color: 'teal' });
}

/** Gives a function that shows why something failed. */
export function useComplain(): (thrown: unknown) => void {
  const { t } = useText();
  return useCallback(
    (thrown: unknown) => {
      // The page for signing in says it already.
      if (asApiError(thrown).code === 'unauthenticated') return;
      show({ message: problemText(t, thrown), color: 'red', autoClose: 8000 });
    },
    [t],
  );
}
