import { Alert, Button, Divider, Paper, PasswordInput, Stack, TextInput, Title } from '@mantine/core';
import { useForm } from '@mantine/form';
import { IconAlertCircle, IconFingerprint, IconInfoCircle } from '@tabler/icons-react';
import { useMutation, useQuery, useQueryClient } from '@tanstack/react-query';
import { useNavigate, useRouter, useSearch } from '@tanstack/react-router';
import { useEffect } from 'react';
import { api, ask, call } from '../api/client';
import type { Me } from '../api/types';
import { sessionQuery, useMeta } from '../app/meta';
import { Mark } from '../components/Brand';
import { Foot } from '../components/Foot';
import { showLanguage, useText } from '../i18n';
import { Enrol } from '../security/Enrol';
import { failureText } from '../security/failure';
import { passkeysPossible, signInByPasskey } from '../security/passkeys';
import { factorsQuery } from '../security/queries';
import { SecondStep } from '../security/SecondStep';
import classes from './SignIn.module.css';

export function SignInPage() {
  const { t } = useText();
  const { brand } = useMeta();
  const { step } = useSearch({ from: '/sign-in' });
  useEffect(() => {
    document.title = `${t('signIn.title')} · ${brand.name} Control Center`;
  }, [t, brand]);

  return (
    <div className={classes.page}>
      <main className={classes.main}>
        <div className={classes.brand}>
          <Mark size={44} />
          <Title order={1} className={classes.title}>
            {brand.name} <span>Control Center</span>
          </Title>
        </div>
        <Paper className={classes.card} withBorder radius="lg">
          {step ? <SecondHalf step={step} /> : <FirstHalf />}
        </Paper>
      </main>
      <Foot />
    </div>
  );
}

/** Gives a function for the answer of each step: it goes on to the next one, or to where the person wanted to go. */
function useArrive(): (me: Me) => Promise<void> {
  const { next } = useSearch({ from: '/sign-in' });
  const navigate = useNavigate();
  const router = useRouter();
  const queryClient = useQueryClient();
  return async (me) => {
    queryClient.clear();
    await showLanguage(me.user.language);
    if (me.proof.need) {
      await navigate({ to: '/sign-in', search: { step: me.proof.need, ...(next && { next }) }, replace: true });
      return;
    }
    queryClient.setQueryData(sessionQuery.queryKey, me);
    if (next) router.history.push(next);
    else await navigate({ to: '/' });
  };
}

function FirstHalf() {
  const { t } = useText();
  const meta = useMeta();
  const { ended } = useSearch({ from: '/sign-in' });
  const arrive = useArrive();
  const form = useForm({
    mode: 'uncontrolled',
    initialValues: { email: '', password: '' },
    validate: {
      email: (v) => (v.trim().length < 3 || !v.includes('@') ? t('signIn.emailMissing') : null),
      password: (v) => (v === '' ? t('signIn.passwordMissing') : null),
    },
  });
  const signIn = useMutation({
    mutationFn: (values: { email: string; password: string }) =>
      call(api.POST('/session', { body: { email: values.email.trim(), password: values.password } })),
    onSuccess: arrive,
  });
  const passkey = useMutation({ mutationFn: signInByPasskey, onSuccess: arrive });
  const failed = signIn.error ?? passkey.error;
  return (
    <form
      onSubmit={form.onSubmit((values) => {
        passkey.reset();
        signIn.mutate(values);
      })}
      noValidate
    >
      <Stack gap="md">
        {ended && !failed && (
          <Alert color="gray" icon={<IconInfoCircle size={18} />}>
            {t('signIn.ended')}
          </Alert>
        )}
        {failed && (
          <Alert color="red" icon={<IconAlertCircle size={18} />} role="alert">
            {failureText(t, failed)}
          </Alert>
        )}
        <TextInput
          label={t('signIn.email')}
          type="email"
          autoComplete="username"
          autoFocus
          size="md"
          key={form.key('email')}
          {...form.getInputProps('email')}
        />
        <PasswordInput
          label={t('signIn.password')}
          autoComplete="current-password"
          size="md"
          visibilityToggleButtonProps={{ 'aria-label': t('signIn.showPassword') }}
          key={form.key('password')}
          {...form.getInputProps('password')}
        />
        <Button type="submit" size="md" loading={signIn.isPending} fullWidth>
          {t('signIn.submit')}
        </Button>
        {meta.passkeys && passkeysPossible && (
          <>
            <Divider label={t('security.or')} />
            <Button
              variant="default"
              size="md"
              fullWidth
              leftSection={<IconFingerprint size={18} />}
              loading={passkey.isPending}
              onClick={() => {
                signIn.reset();
                passkey.mutate();
              }}
            >
              {t('security.passkeySignIn')}
            </Button>
          </>
        )}
      </Stack>
    </form>
  );
}

function SecondHalf({ step }: { step: 'second' | 'enrol' }) {
  const { t } = useText();
  const { next } = useSearch({ from: '/sign-in' });
  const navigate = useNavigate();
  const queryClient = useQueryClient();
  const arrive = useArrive();
  const { data: factors, error } = useQuery({ ...factorsQuery, enabled: step === 'second' });
  const back = async () => {
    // It may have ended by itself, which is just as well.
    await ask(api.DELETE('/session')).catch(() => {});
    queryClient.clear();
    await navigate({ to: '/sign-in', search: next ? { next } : {}, replace: true });
  };
  if (error)
    return (
      <Stack gap="md">
        <Alert color="red" icon={<IconAlertCircle size={18} />} role="alert">
          {failureText(t, error)}
        </Alert>
        <Button variant="default" onClick={() => void back()}>
          {t('signIn.title')}
        </Button>
      </Stack>
    );
  if (step === 'enrol')
    return <Enrol onDone={() => void queryClient.fetchQuery(sessionQuery).then(arrive)} onCancel={() => void back()} />;
  if (!factors) return null;
  return <SecondStep factors={factors} onProven={(me) => void arrive(me)} onCancel={() => void back()} />;
}
