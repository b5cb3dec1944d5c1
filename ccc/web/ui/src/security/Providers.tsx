import { Alert, Button, Stack } from '@mantine/core';
import { IconAlertCircle, IconLogin2 } from '@tabler/icons-react';
import { useMutation } from '@tanstack/react-query';
import { api, ask } from '../api/client';
import { useText } from '../i18n';
import { failureText } from './failure';

/** Buttons for the OpenID providers, which lead there; an invitation is taken up on the way. */
export function Providers({
  providers,
  next,
  invitation,
}: {
  providers: readonly { id: string; name: string }[];
  next?: string | undefined;
  invitation?: string | undefined;
}) {
  const { t } = useText();
  const begin = useMutation({
    mutationFn: (provider: string) =>
      ask(
        api.POST('/session/oidc/options', {
          body: { provider, ...(next && { next }), ...(invitation && { invitation }) },
        }),
      ),
    onSuccess: ({ url }) => location.assign(url),
  });
  return (
    <Stack gap="xs">
      {begin.error && (
        <Alert color="red" icon={<IconAlertCircle size={18} />} role="alert">
          {failureText(t, begin.error)}
        </Alert>
      )}
      {providers.map(({ id, name }) => (
        <Button
          key={id}
          variant="default"
          size="md"
          fullWidth
          leftSection={<IconLogin2 size={18} />}
          loading={begin.isPending && begin.variables === id}
          onClick={() => begin.mutate(id)}
        >
          {t('signin.provider', { name })}
        </Button>
      ))}
    </Stack>
  );
}
