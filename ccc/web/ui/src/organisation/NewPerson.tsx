import { Alert, Button, Group, Modal, PasswordInput, Select, Stack, Text, TextInput } from '@mantine/core';
import { useForm } from '@mantine/form';
import { useMutation, useQueryClient } from '@tanstack/react-query';
import { useRef } from 'react';
import { api, call, idempotencyKey } from '../api/client';
import { limits } from '../api/generated/limits';
import { asApiError } from '../api/problem';
import { fieldTexts, problemText } from '../api/problemText';
import type { RoleGrant } from '../api/types';
import { languageNames } from '../components/Foot';
import { tell } from '../components/notify';
import { languages, useText } from '../i18n';
import { RolesEditor } from './RolesEditor';

/** Makes an account. */
export function NewPersonModal({ opened, onClose }: { opened: boolean; onClose(): void }) {
  const { t } = useText();
  return (
    <Modal
      opened={opened}
      onClose={onClose}
      size="lg"
      title={t('organisation.people.add')}
      closeButtonProps={{ 'aria-label': t('common.close') }}
    >
      <NewPersonForm onClose={onClose} />
    </Modal>
  );
}

function NewPersonForm({ onClose }: { onClose(): void }) {
  const { t, language } = useText();
  const queryClient = useQueryClient();
  const key = useRef(idempotencyKey());
  const person = usePersonFields();
  const form = useForm({
    initialValues: { ...person.initial, language: language as string, roles: [] as RoleGrant[] },
    validate: person.validate,
  });
  const make = useMutation({
    mutationFn: (v: typeof form.values) =>
      call(
        api.POST('/users', {
          params: { header: { 'Idempotency-Key': key.current } },
          body: { ...person.body(v), roles: v.roles },
        }),
      ),
    onSuccess: async ({ name }) => {
      tell(t('organisation.people.made', { name }));
      await queryClient.invalidateQueries({ queryKey: ['people'] });
      onClose();
    },
    onError: (thrown) => {
      key.current = idempotencyKey();
      form.setErrors(fieldTexts(t, asApiError(thrown), ['name', 'email', 'password', 'roles']));
    },
  });
  const code = make.error ? asApiError(make.error).code : undefined;
  return (
    <form onSubmit={form.onSubmit((values) => make.mutate(values))} noValidate>
      <Stack gap="md">
        {code && code !== 'invalid' && (
          <Alert color="red" role="alert">
            {code === 'conflict' ? t('organisation.people.taken') : problemText(t, make.error)}
          </Alert>
        )}
        <TextInput
          label={t('organisation.people.name')}
          maxLength={limits.name}
          data-autofocus
          {...form.getInputProps('name')}
        />
        <TextInput label={t('signIn.email')} type="email" autoComplete="off" {...form.getInputProps('email')} />
        <PersonRest form={form} />
        <RolesEditor
          value={form.values.roles}
          onChange={(roles) => form.setFieldValue('roles', roles)}
          error={typeof form.errors.roles === 'string' ? form.errors.roles : undefined}
        />
        <Group justify="flex-end">
          <Button variant="default" onClick={onClose}>
            {t('common.cancel')}
          </Button>
          <Button type="submit" loading={make.isPending}>
            {t('organisation.people.make')}
          </Button>
        </Group>
      </Stack>
    </form>
  );
}

interface PersonValues {
  name: string;
  email: string;
  language: string;
  password: string;
}

/** What is asked of each new person. */
export function usePersonFields() {
  const { t, language } = useText();
  return {
    initial: { name: '', email: '', language: language as string, password: '' },
    validate: {
      name: (v: string) => (v.trim() ? null : t('add.nameMissing')),
      email: (v: string) => (v.includes('@') && v.trim().length > 2 ? null : t('signIn.emailMissing')),
      password: (v: string) =>
        v.length < limits.newPassword ? t('password.tooShort', { count: limits.newPassword }) : null,
    },
    body: (v: PersonValues) => ({
      name: v.name.trim(),
      email: v.email.trim(),
      language: languages.find((l) => l === v.language) ?? language,
      password: v.password,
    }),
  };
}

/** The language of a new person, and the first password of one who does not choose it himself. */
export function PersonRest({
  form,
  password = true,
}: {
  form: { getInputProps(field: 'language' | 'password'): object };
  password?: boolean;
}) {
  const { t } = useText();
  return (
    <>
      <Select
        label={t('account.language')}
        allowDeselect={false}
        data={languages.map((l) => ({ value: l, label: languageNames[l] }))}
        {...form.getInputProps('language')}
      />
      {password && (
        <>
          <PasswordInput
            label={t('organisation.people.password')}
            description={t('organisation.people.passwordHint')}
            autoComplete="new-password"
            visibilityToggleButtonProps={{ 'aria-label': t('signIn.showPassword') }}
            {...form.getInputProps('password')}
          />
          <Text size="sm" c="dimmed">
            {t('password.hint', { count: limits.newPassword })}
          </Text>
        </>
      )}
    </>
  );
}
