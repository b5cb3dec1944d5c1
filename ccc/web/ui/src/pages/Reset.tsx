import { Alert, Button, Stack, Text, TextInput, Title } from '@mantine/core';
import { useForm } from '@mantine/form';
import { IconAlertCircle, IconInfoCircle } from '@tabler/icons-react';
import { useMutation } from '@tanstack/react-query';
import { useNavigate } from '@tanstack/react-router';
import { useState } from 'react';
import { api, ask } from '../api/client';
import { limits } from '../api/generated/limits';
import { asApiError } from '../api/problem';
import { fieldTexts } from '../api/problemText';
import { useMeta } from '../app/meta';
import { useText } from '../i18n';
import { failureText } from '../security/failure';
import { Front } from './Front';
import { NewPasswordFields } from './Invitation';

/** Asks for a link for a new password, or, with the secret of one after #, for the password. */
export function ResetPage() {
  const { t } = useText();
  const [secret, setSecret] = useState(() => location.hash.slice(1));
  return (
    <Front title={t('signin.reset.title')}>
      {secret ? <Choose secret={secret} onVoid={() => setSecret('')} /> : <Ask />}
    </Front>
  );
}

function ToSignIn() {
  const { t } = useText();
  const navigate = useNavigate();
  return (
    <Button variant="default" onClick={() => void navigate({ to: '/sign-in', search: {}, replace: true })}>
      {t('signin.toSignIn')}
    </Button>
  );
}

function Ask() {
  const { t } = useText();
  const { mail } = useMeta();
  const form = useForm({
    initialValues: { email: '' },
    validate: { email: (v) => (v.trim().length < 3 || !v.includes('@') ? t('signIn.emailMissing') : null) },
  });
  const request = useMutation({
    mutationFn: ({ email }: { email: string }) => ask(api.POST('/password-resets', { body: { email: email.trim() } })),
  });
  if (!mail || request.isSuccess)
    return (
      <Stack gap="md">
        <Title order={2}>{t('signin.reset.title')}</Title>
        <Alert color="gray" icon={<IconInfoCircle size={18} />} role="status">
          {mail ? t('signin.reset.sent') : t('signin.reset.noMail')}
        </Alert>
        <ToSignIn />
      </Stack>
    );
  return (
    <form onSubmit={form.onSubmit((v) => request.mutate(v))} noValidate>
      <Stack gap="md">
        <Title order={2}>{t('signin.reset.title')}</Title>
        <Text size="sm">{t('signin.reset.text')}</Text>
        {request.error && (
          <Alert color="red" icon={<IconAlertCircle size={18} />} role="alert">
            {failureText(t, request.error)}
          </Alert>
        )}
        <TextInput
          label={t('signIn.email')}
          type="email"
          autoComplete="username"
          autoFocus
          size="md"
          {...form.getInputProps('email')}
        />
        <Button type="submit" size="md" loading={request.isPending} fullWidth>
          {t('signin.reset.send')}
        </Button>
        <ToSignIn />
      </Stack>
    </form>
  );
}

function Choose({ secret, onVoid }: { secret: string; onVoid(): void }) {
  const { t } = useText();
  const form = useForm({
    initialValues: { password: '', again: '' },
    validate: {
      password: (v) => (v.length < limits.newPassword ? t('password.tooShort', { count: limits.newPassword }) : null),
      again: (v, { password }) => (v === password ? null : t('password.differs')),
    },
  });
  const change = useMutation({
    mutationFn: ({ password }: { password: string }) =>
      ask(api.POST('/password-resets/completion', { body: { secret, password } })),
    onError: (thrown) => form.setErrors(fieldTexts(t, asApiError(thrown), ['password'])),
  });
  const code = change.error ? asApiError(change.error).code : undefined;
  if (change.isSuccess)
    return (
      <Stack gap="md">
        <Title order={2}>{t('signin.reset.title')}</Title>
        <Alert color="green" icon={<IconInfoCircle size={18} />} role="status">
          {t('signin.reset.done')}
        </Alert>
        <ToSignIn />
      </Stack>
    );
  return (
    <form onSubmit={form.onSubmit((v) => change.mutate(v))} noValidate>
      <Stack gap="md">
        <Title order={2}>{t('signin.reset.title')}</Title>
        <Text size="sm">{t('signin.reset.choose')}</Text>
        {code && code !== 'invalid' && (
          <Alert color="red" icon={<IconAlertCircle size={18} />} role="alert">
            {code === 'link_void' ? t('signin.reset.void') : failureText(t, change.error)}
          </Alert>
        )}
        <NewPasswordFields form={form} />
        <Button type="submit" size="md" loading={change.isPending} fullWidth>
          {t('signin.reset.submit')}
        </Button>
        {code === 'link_void' && (
          <Button variant="default" onClick={onVoid}>
            {t('signin.reset.send')}
          </Button>
        )}
      </Stack>
    </form>
  );
}
