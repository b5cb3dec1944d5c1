import { Alert, Anchor, Button, Group, Stack, Text, Title } from '@mantine/core';
import { IconAlertCircle, IconFingerprint } from '@tabler/icons-react';
import { useMutation } from '@tanstack/react-query';
import { useState } from 'react';
import { api, ask } from '../api/client';
import type { Factors, Me } from '../api/types';
import { useText } from '../i18n';
import { CodeForm } from './CodeForm';
import { failureText } from './failure';
import { passkeysPossible, signInByPasskey } from './passkeys';

/** Asks for the second factor, in the way that the person has. */
export function SecondStep({
  factors,
  title = true,
  onProven,
  onCancel,
}: {
  factors: Factors;
  title?: boolean;
  onProven(me: Me): void;
  onCancel(): void;
}) {
  const { t } = useText();
  const [recovery, setRecovery] = useState(!factors.totp);
  const byPasskey = factors.passkeys > 0 && factors.passkeys_here && passkeysPossible;
  const prove = useMutation({
    mutationFn: (code: string) =>
      ask(api.POST('/session/second-factor', { body: recovery ? { recovery: code } : { totp: code } })),
    onSuccess: onProven,
  });
  const passkey = useMutation({ mutationFn: signInByPasskey, onSuccess: onProven });
  return (
    <Stack gap="md">
      {title && <Title order={2}>{t('security.second.title')}</Title>}
      {passkey.error && (
        <Alert color="red" icon={<IconAlertCircle size={18} />} role="alert">
          {failureText(t, passkey.error)}
        </Alert>
      )}
      {byPasskey && (
        <Button
          variant="default"
          size="md"
          leftSection={<IconFingerprint size={18} />}
          loading={passkey.isPending}
          onClick={() => passkey.mutate()}
        >
          {t('security.second.usePasskey')}
        </Button>
      )}
      <Text size="sm">{recovery ? t('security.second.recoveryText') : t('security.second.text')}</Text>
      <CodeForm
        key={String(recovery)}
        label={recovery ? t('security.second.recovery') : t('security.second.code')}
        submit={t('security.second.submit')}
        digits={!recovery}
        error={prove.error ? failureText(t, prove.error) : undefined}
        pending={prove.isPending}
        onCode={(code) => prove.mutate(code)}
      />
      <Group justify="space-between">
        {factors.totp ? (
          <Anchor
            component="button"
            type="button"
            size="sm"
            onClick={() => {
              setRecovery(!recovery);
              prove.reset();
            }}
          >
            {recovery ? t('security.second.useApp') : t('security.second.useRecovery')}
          </Anchor>
        ) : (
          <span />
        )}
        <Anchor component="button" type="button" size="sm" onClick={onCancel}>
          {t('security.second.cancel')}
        </Anchor>
      </Group>
    </Stack>
  );
}
