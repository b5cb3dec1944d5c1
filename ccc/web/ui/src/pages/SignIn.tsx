import { Alert, Button, Paper, PasswordInput, Stack, TextInput, Title } from '@mantine/core';
import { useForm } from '@mantine/form';
import { IconAlertCircle, IconInfoCircle } from '@tabler/icons-react';
import { useMutation, useQueryClient } from '@tanstack/react-query';
import { useNavigate, useRouter, useSearch } from '@tanstack/react-router';
import { useEffect } from 'react';
import { api, call } from '../api/client';
import { problemText } from '../api/problemText';
import { sessionQuery, useMeta } from '../app/meta';
import { Mark } from '../components/Brand';
import { Foot } from '../components/Foot';
import { showLanguage, useText } from '../i18n';
import classes from './SignIn.module.css';

export function SignInPage() {
  const { t } = useText();
  const { brand } = useMeta();
  const { next, ended } = useSearch({ from: '/sign-in' });
  const navigate = useNavigate();
  const router = useRouter();
  const queryClient = useQueryClient();
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
    onSuccess: async (me) => {
      queryClient.clear();
      queryClient.setQueryData(sessionQuery.queryKey, me);
      await showLanguage(me.user.language);
      if (next) router.history.push(next);
      else await navigate({ to: '/' });
    },
  });
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
          <form onSubmit={form.onSubmit((values) => signIn.mutate(values))} noValidate>
            <Stack gap="md">
              {ended && !signIn.error && (
                <Alert color="gray" icon={<IconInfoCircle size={18} />}>
                  {t('signIn.ended')}
                </Alert>
              )}
              {signIn.error && (
                <Alert color="red" icon={<IconAlertCircle size={18} />} role="alert">
                  {problemText(t, signIn.error)}
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
            </Stack>
          </form>
        </Paper>
      </main>
      <Foot />
    </div>
  );
}
