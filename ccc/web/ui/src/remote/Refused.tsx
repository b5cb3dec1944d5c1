import { Alert, Anchor } from '@mantine/core';
import { IconAlertCircle } from '@tabler/icons-react';
import { Link, useRouterState } from '@tanstack/react-router';
import { asApiError } from '../api/problem';
import { problemText } from '../api/problemText';
import { useText } from '../i18n';

/** What of the sign-in is missing, by the code that says so. */
const missing: Partial<Record<string, 'second' | 'enrol'>> = {
  second_factor_needed: 'second',
  second_factor_enrol: 'enrol',
};

/** Says why remote access was refused, and leads to where what is missing can be made up for, and back. */
export function Refused({ error }: { error: unknown }) {
  const { t } = useText();
  const next = useRouterState({ select: (s) => s.location.href });
  const step = missing[asApiError(error).code];
  return (
    <Alert color="red" icon={<IconAlertCircle size={18} />} role="alert">
      {problemText(t, error)}{' '}
      {step && (
        <Anchor size="sm" renderRoot={(props) => <Link {...props} to="/sign-in" search={{ step, next }} />}>
          {t('remote.prove')}
        </Anchor>
      )}
    </Alert>
  );
}
