import { Alert, Button, Stack, Text } from '@mantine/core';
import { IconAlertCircle } from '@tabler/icons-react';
import { useQuery } from '@tanstack/react-query';
import { useNavigate, useRouter, useSearch } from '@tanstack/react-router';
import { useEffect, useRef } from 'react';
import { api, ask } from '../api/client';
import { useText } from '../i18n';
import { useArrive } from '../security/arrive';
import { failureText } from '../security/failure';
import { Front } from './Front';

/** Where a provider sends the browser back to: hands its answer to the server, once. */
export function OidcPage() {
  const { t } = useText();
  const search = useSearch({ from: '/oidc' });
  const navigate = useNavigate();
  const router = useRouter();
  const answer = useQuery({
    queryKey: ['oidc', search.state],
    queryFn: () =>
      ask(
        api.POST('/session/oidc', {
          body: {
            flow_state: search.state,
            ...(search.code && { code: search.code }),
            ...(search.iss && { iss: search.iss }),
            ...(search.error && { error: search.error }),
          },
        }),
      ),
    staleTime: Number.POSITIVE_INFINITY,
    retry: false,
  });
  const next = answer.data?.next;
  const arrive = useArrive(next === '/' ? undefined : next);
  const done = useRef(false);
  useEffect(() => {
    if (!answer.data || done.current) return;
    done.current = true;
    router.history.replace('/sign-in'); // what came in the address is of no more use
    void arrive(answer.data.me);
  }, [answer.data, arrive, router]);
  return (
    <Front title={t('signin.oidc.title')}>
      <Stack gap="md">
        {answer.error ? (
          <>
            <Alert color="red" icon={<IconAlertCircle size={18} />} role="alert">
              {failureText(t, answer.error)}
            </Alert>
            <Button variant="default" onClick={() => void navigate({ to: '/sign-in', search: {}, replace: true })}>
              {t('signin.toSignIn')}
            </Button>
          </>
        ) : (
          <Text role="status">{t('signin.oidc.wait')}</Text>
        )}
      </Stack>
    </Front>
  );
}
