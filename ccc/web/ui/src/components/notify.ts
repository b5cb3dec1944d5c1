import { notifications } from '@mantine/notifications';
import { useCallback } from 'react';
import { asApiError } from '../api/problem';
import { problemText } from '../api/problemText';
import { useText } from '../i18n';

/** Says that something was done. */
export function tell(message: string): void {
  notifications.show({ message, color: 'teal' });
}

/** Gives a function that shows why something failed. */
export function useComplain(): (thrown: unknown) => void {
  const { t } = useText();
  return useCallback(
    (thrown: unknown) => {
      // The page for signing in says it already.
      if (asApiError(thrown).code === 'unauthenticated') return;
      notifications.show({ message: problemText(t, thrown), color: 'red', autoClose: 8000 });
    },
    [t],
  );
}
