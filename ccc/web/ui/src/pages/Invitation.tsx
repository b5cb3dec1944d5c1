import { Alert, Button, Divider, PasswordInput, Select, Stack, Text, TextInput, Title } from '@mantine/core';
import { useForm } from '@mantine/form';
import { IconAlertCircle } from '@tabler/icons-react';
import { useMutation, useQuery } from '@tanstack/react-query';
import { useEffect, useState } from 'react';
import { api, ask } from '../api/client';
import { limits } from '../api/generated/limits';
import { asApiError } from '../api/problem';
import { fieldTexts } from '../api/problemText';
import { languageNames } from '../components/Foot';
import { languages, showLanguage, useText } from '../i18n';
import { useArrive } from '../security/arrive';
import { failureText } from '../security/failure';
import { Providers } from '../security/Providers';
import { Front } from './Front';

/** Takes up an invitation, whose secret is after # in the address. */
export function InvitationPage() {
  const { t } = useText();
  const [secret] = useState(() => location.hash.slice(1));
  const invitation = useQuery({
    queryKey: ['invitation', secret],
    queryFn: () => ask(api.POST('/invitation', { body: { secret: secret || '-' } })),
    staleTime: Number.POSITIVE_INFINITY,
    gcTime: 0, // it is secret
    retry: false,
  });
  const wanted = invitation.data?.language;
  useEffect(() => {
    if (wanted) void showLanguage(wanted);
  }, [wanted]);
  const { error } = invitation;
  return (
    <Front title={t('signin.invitation.title')}>
      {error && (
        <Alert color="red" icon={<IconAlertCircle size={18} />} role="alert">
          {asApiError(error).code === 'link_void' ? t('signin.invitation.void') : failureText(t, error)}
        </Alert>
      )}
      {invitation.data && <Accept secret={secret} invitation={invitation.data} />}
    </Front>
  );
}

interface Open {
  tenant: string;
  email: string;
  name: string;
  language: string;
  second_factor: boolean;
  providers: { id: string; name: string }[];
}

function Accept({ secret, invitation }: { secret: string; invitation: Open }) {
  const { t, language } = useText();
  const arrive = useArrive();
  const form = useForm({
    initialValues: { name: invitation.name, language: invitation.language, password: '', again: '' },
    validate: {
      name: (v) => (v.trim() ? null : t('field.required')),
      password: (v) => (v.length < limits.newPassword ? t('password.tooShort', { count: limits.newPassword }) : null),
      again: (v, { password }) => (v === password ? null : t('password.differs')),
    },
  });
  const accept = useMutation({
    mutationFn: (v: typeof form.values) =>
      ask(
        api.POST('/invitation/acceptance', {
          body: {
            secret,
            name: v.name.trim(),
            language: languages.find((l) => l === v.language) ?? language,
            password: v.password,
          },
        }),
      ),
    onSuccess: arrive,
    onError: (thrown) => form.setErrors(fieldTexts(t, asApiError(thrown), ['name', 'password'])),
  });
  const code = accept.error ? asApiError(accept.error).code : undefined;
  return (
    <form onSubmit={form.onSubmit((v) => accept.mutate(v))} noValidate>
      <Stack gap="md">
        <Title order={2}>{t('signin.invitation.title')}</Title>
        <Text size="sm">{t('signin.invitation.text', { tenant: invitation.tenant, email: invitation.email })}</Text>
        {code && code !== 'invalid' && (
          <Alert color="red" icon={<IconAlertCircle size={18} />} role="alert">
            {code === 'link_void' ? t('signin.invitation.void') : failureText(t, accept.error)}
          </Alert>
        )}
        {invitation.providers.length > 0 && (
          <>
            <Providers providers={invitation.providers} invitation={secret} />
            <Divider label={t('security.or')} />
          </>
        )}
        <TextInput
          label={t('signin.invitation.name')}
          autoComplete="name"
          size="md"
          maxLength={limits.name}
          {...form.getInputProps('name')}
        />
        <Select
          label={t('signin.language')}
          size="md"
          allowDeselect={false}
          data={languages.map((l) => ({ value: l, label: languageNames[l] }))}
          {...form.getInputProps('language')}
        />
        {/* So that a password manager knows whose password it is. */}
        <input type="hidden" autoComplete="username" value={invitation.email} readOnly />
        <NewPasswordFields form={form} />
        {invitation.second_factor && <Text size="sm">{t('signin.invitation.second')}</Text>}
        <Button type="submit" size="md" loading={accept.isPending} fullWidth>
          {t('signin.invitation.submit')}
        </Button>
      </Stack>
    </form>
  );
}

/** A new password, twice. */
export function NewPasswordFields({ form }: { form: { getInputProps(field: 'password' | 'again'): object } }) {
  const { t } = useText();
  const toggle = { 'aria-label': t('signIn.showPassword') };
  return (
    <>
      <PasswordInput
        label={t('signIn.password')}
        description={t('password.hint', { count: limits.newPassword })}
        autoComplete="new-password"
        size="md"
        visibilityToggleButtonProps={toggle}
        {...form.getInputProps('password')}
      />
      <PasswordInput
        label={t('signin.again')}
        autoComplete="new-password"
        size="md"
        visibilityToggleButtonProps={toggle}
        {...form.getInputProps('again')}
      />
    </>
  );
}
