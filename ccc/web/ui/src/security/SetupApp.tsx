import { Alert, Skeleton, Stack, Text } from '@mantine/core';
import { IconAlertCircle } from '@tabler/icons-react';
import { useMutation, useQuery } from '@tanstack/react-query';
import { QRCodeSVG } from 'qrcode.react';
import { api, ask } from '../api/client';
import { useText } from '../i18n';
import { CodeForm } from './CodeForm';
import { failureText } from './failure';
import classes from './Security.module.css';

/** Sets up an app for codes: its key, which the server makes anew each time, and a first code. */
export function SetupApp({ onDone }: { onDone(codes: string[]): void }) {
  const { t } = useText();
  const begun = useQuery({
    queryKey: ['account', 'app'],
    queryFn: () => ask(api.POST('/account/totp')),
    staleTime: Number.POSITIVE_INFINITY,
    gcTime: 0, // it is secret
    retry: false,
  });
  const confirm = useMutation({
    mutationFn: (code: string) => ask(api.PUT('/account/totp', { body: { code } })),
    onSuccess: ({ codes }) => onDone(codes),
  });
  if (begun.error)
    return (
      <Alert color="red" icon={<IconAlertCircle size={18} />} role="alert">
        {failureText(t, begun.error)}
      </Alert>
    );
  if (!begun.data) return <Skeleton height="16rem" radius="md" aria-label={t('security.loading')} />;
  return (
    <Stack gap="md">
      <Text size="sm">{t('security.app.scan')}</Text>
      <figure className={classes.qr}>
        <QRCodeSVG value={begun.data.uri} size={184} level="M" marginSize={1} title={t('security.app.qr')} />
      </figure>
      <div>
        <Text size="sm" mb={6}>
          {t('security.app.type')}
        </Text>
        <code className={classes.secret} data-testid="secret">
          {begun.data.secret.replace(/(.{4})(?=.)/g, '$1 ')}
        </code>
      </div>
      <CodeForm
        label={t('security.app.confirm')}
        submit={t('security.app.submit')}
        digits
        error={confirm.error ? failureText(t, confirm.error) : undefined}
        pending={confirm.isPending}
        onCode={(code) => confirm.mutate(code)}
      />
    </Stack>
  );
}
