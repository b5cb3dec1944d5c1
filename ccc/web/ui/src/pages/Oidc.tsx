import { Alert, Button, Stack, Text } from '@mantine/core';
import { IconAlertCircle } from '@tabler/icons-react';
import { useQuery } from '@tanstack/react-query';
import { useNavigate, useRouter, useSearch } from '@tanstack/react-router';
import { useEffect, useRef } from 'react';
import { api, ask } from '../api/client';
import { tell } from '../components/notify';
import { useText } from '../i18n';
import { useArrive } from '../security/arrive';
import { failureText } from '../security/failure';
import { Front } from './Front';

/** How the state of an answer begins with which an account is linked, and nobody signs in. */
const linking = 'link-';

/** What the provider adds to the address. */
interface Answer {
  state: string;
  code: string;
  iss: string;
  error: string;
}

/** The answer as the server takes it. */
function body({ state, code, iss, error }: Answer) {
  return { flow_state: state, ...(code && { code }), ...(iss && { iss }), ...(error && { error }) };
}

/** Where a provider sends the browser back to: hands its answer to the server, once. */
export function OidcPage() {
  const search = useSearch({ from: '/oidc' });
  return search.state.startsWith(linking) ? <Link search={search} /> : <SignIn search={search} />;
}

/** Links the account, and shows it. */
function Link({ search }: { search: Answer }) {
  const { t } = useText();
  const navigate = useNavigate();
  const link = useQuery({
    queryKey: ['oidc', search.state],
    queryFn: () => ask(api.POST('/account/providers', { body: body(search) })),
    staleTime: Number.POSITIVE_INFINITY,
    retry: false,
  });
  const done = useRef(false);
  useEffect(() => {
    if (!link.data || done.current) return;
    done.current = true;
    tell(t('security.providers.added', { name: link.data.name }));
    void navigate({ to: '/account', replace: true });
  }, [link.data, navigate, t]);
  return (
    <Waiting
      title={t('signin.oidc.linkTitle')}
      wait={t('signin.oidc.linkWait')}
      failed={link.error}
      back={t('signin.oidc.toAccount')}
      onBack={() => void navigate({ to: '/account', replace: true })}
    />
  );
}

function SignIn({ search }: { search: Answer }) {
  const { t } = useText();
  const navigate = useNavigate();
  const router = useRouter();
  const answer = useQuery({
    queryKey: ['oidc', search.state],
    queryFn: () => ask(api.POST('/session/oidc', { body: body(search) })),
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
    <Waiting
      title={t('signin.oidc.title')}
      wait={t('signin.oidc.wait')}
      failed={answer.error}
      back={t('signin.toSignIn')}
      onBack={() => void navigate({ to: '/sign-in', search: {}, replace: true })}
    />
  );
}

function Waiting(props: { title: string; wait: string; failed: Error | null; back: string; onBack(): void }) {
  const { t } = useText();
  return (
    <Front title={props.title}>
      <Stack gap="md">
        {props.failed ? (
          <>
            <Alert color="red" icon={<IconAlertCircle size={18} />} role="alert">
              {failureText(t, props.failed)}
            </Alert>
            <Button variant="default" onClick={props.onBack}>
              {props.back}
            </Button>
          </>
        ) : (
          <Text role="status">{props.wait}</Text>
        )}
      </Stack>
    </Front>
  );
}
