import { Alert, Anchor, Button, Divider, PasswordInput, Stack, TextInput } from '@mantine/core';
import { useForm } from '@mantine/form';
import { IconAlertCircle, IconFingerprint, IconInfoCircle } from '@tabler/icons-react';
import { useMutation, useQuery, useQueryClient } from '@tanstack/react-query';
import { Link, useNavigate, useSearch } from '@tanstack/react-router';
import { api, ask, call } from '../api/client';
import { sessionQuery, useMeta } from '../app/meta';
import { useText } from '../i18n';
import { useArrive } from '../security/arrive';
import { Enrol } from '../security/Enrol';
import { failureText } from '../security/failure';
import { Providers } from '../security/Providers';
import { passkeysPossible, signInByPasskey } from '../security/passkeys';
import { factorsQuery } from '../security/queries';
import { SecondStep } from '../security/SecondStep';
import { Front } from './Front';

export function SignInPage() {
  const { t } = useText();
  const { step } = useSearch({ from: '/sign-in' });
  return <Front title={t('signIn.title')}>{step ? <SecondHalf step={step} /> : <FirstHalf />}</Front>;
}

function FirstHalf() {
  const { t } = useText();
  const meta = useMeta();
  const { ended, next } = useSearch({ from: '/sign-in' });
  const arrive = useArrive(next);
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
        {meta.mail && (
          <Anchor component={Link} to="/reset" size="sm">
            {t('signin.forgot')}
          </Anchor>
        )}
        {((meta.passkeys && passkeysPossible) || meta.providers.length > 0) && <Divider label={t('security.or')} />}
        {meta.passkeys && passkeysPossible && (
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
        )}
        <Providers providers={meta.providers} next={next} />
      </Stack>
    </form>
  );
}

function SecondHalf({ step }: { step: 'second' | 'enrol' }) {
  const { t } = useText();
  const { next } = useSearch({ from: '/sign-in' });
  const navigate = useNavigate();
  const queryClient = useQueryClient();
  const arrive = useArrive(next);
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
