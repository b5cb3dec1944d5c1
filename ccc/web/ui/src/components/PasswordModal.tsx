import { Alert, Button, Group, Modal, PasswordInput, Stack, Text } from '@mantine/core';
import { useForm } from '@mantine/form';
import { useMutation } from '@tanstack/react-query';
import { api, call } from '../api/client';
import { limits } from '../api/generated/limits';
import { asApiError } from '../api/problem';
import { fieldTexts, problemText } from '../api/problemText';
import { useMe } from '../app/meta';
import { useText } from '../i18n';
import { useProven } from '../security/Prove';
import { tell } from './notify';

export function PasswordModal({ opened, onClose }: { opened: boolean; onClose(): void }) {
  const { t } = useText();
  return (
    <Modal
      opened={opened}
      onClose={onClose}
      title={t('password.title')}
      closeButtonProps={{ 'aria-label': t('common.close') }}
    >
      <PasswordForm onClose={onClose} />
    </Modal>
  );
}

function PasswordForm({ onClose }: { onClose(): void }) {
  const { t } = useText();
  const run = useProven();
  const me = useMe();
  const form = useForm({
    mode: 'uncontrolled',
    initialValues: { current: '', next: '', again: '' },
    validate: {
      current: (v) => (v === '' ? t('field.required') : null),
      next: (v) => (v.length < limits.newPassword ? t('password.tooShort', { count: limits.newPassword }) : null),
      again: (v, { next }) => (v === next ? null : t('password.differs')),
    },
  });
  const change = useMutation({
    mutationFn: (v: { current: string; next: string }) =>
      call(api.PUT('/session/password', { body: { current: v.current, new: v.next } })),
    onSuccess: () => {
      tell(t('password.done'));
      onClose();
    },
    onError: (thrown) => {
      const error = asApiError(thrown);
      const { new: next, current } = fieldTexts(t, error, ['current', 'new']);
      form.setErrors({
        ...(current && { current }),
        ...(next && { next }),
        ...(error.code === 'wrong_password' && { current: problemText(t, error) }),
      });
    },
  });
  // The form shows what is wrong; only a proof that is too old is for others.
  const save = async (values: { current: string; next: string }) => {
    await change.mutateAsync(values).catch((thrown) => {
      if (asApiError(thrown).code === 'proof_stale') throw thrown;
    });
  };
  const general = change.error && !['wrong_password', 'invalid', 'proof_stale'].includes(asApiError(change.error).code);
  const toggle = { 'aria-label': t('signIn.showPassword') };
  return (
    <form onSubmit={form.onSubmit((values) => void run(() => save(values)))} noValidate>
      <Stack>
        <input type="hidden" autoComplete="username" value={me.user.email} readOnly />
        {general && (
          <Alert color="red" role="alert">
            {problemText(t, change.error)}
          </Alert>
        )}
        <PasswordInput
          label={t('password.current')}
          autoComplete="current-password"
          data-autofocus
          visibilityToggleButtonProps={toggle}
          key={form.key('current')}
          {...form.getInputProps('current')}
        />
        <PasswordInput
          label={t('password.next')}
          description={t('password.hint', { count: limits.newPassword })}
          autoComplete="new-password"
          visibilityToggleButtonProps={toggle}
          key={form.key('next')}
          {...form.getInputProps('next')}
        />
        <PasswordInput
          label={t('password.again')}
          autoComplete="new-password"
          visibilityToggleButtonProps={toggle}
          key={form.key('again')}
          {...form.getInputProps('again')}
        />
        <Text size="sm" c="dimmed">
          {t('password.others')}
        </Text>
        <Group justify="flex-end">
          <Button variant="default" onClick={onClose}>
            {t('common.cancel')}
          </Button>
          <Button type="submit" loading={change.isPending}>
            {t('common.save')}
          </Button>
        </Group>
      </Stack>
    </form>
  );
}
