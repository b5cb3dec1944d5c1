import { Alert, Button, Group, Modal, Stack, Text } from '@mantine/core';
import { useForm } from '@mantine/form';
import { useMutation, useQueryClient } from '@tanstack/react-query';
import { useNavigate } from '@tanstack/react-router';
import { useRef } from 'react';
import { api, call, idempotencyKey } from '../api/client';
import { asApiError } from '../api/problem';
import { fieldTexts, problemText } from '../api/problemText';
import type { System } from '../api/types';
import { SerialInput } from '../components/SerialInput';
import { fleet } from '../fleet/store';
import { useText } from '../i18n';
import { groupedSerial, isSerial, normalSerial } from '../serial';
import { offerKey } from '../setup/offer';

interface Props {
  system: System;
  opened: boolean;
  onClose(): void;
}

/** Has another PBX take the place of a system. */
export function ReplaceModal({ system, opened, onClose }: Props) {
  const { t } = useText();
  return (
    <Modal
      opened={opened}
      onClose={onClose}
      title={t('replace.title')}
      closeButtonProps={{ 'aria-label': t('common.close') }}
    >
      <ReplaceForm system={system} onClose={onClose} />
    </Modal>
  );
}

function ReplaceForm({ system, onClose }: Omit<Props, 'opened'>) {
  const { t } = useText();
  const navigate = useNavigate();
  const queryClient = useQueryClient();
  const key = useRef({ serial: '', key: '' });
  const form = useForm({
    initialValues: { serial: '' },
    validate: {
      serial: (v) =>
        !isSerial(v) ? t('add.serialWrong') : normalSerial(v) === system.serial ? t('replace.same') : null,
    },
  });
  const replace = useMutation({
    mutationFn: (v: { serial: string }) => {
      const serial = normalSerial(v.serial);
      if (key.current.serial !== serial) key.current = { serial, key: idempotencyKey() };
      return call(
        api.POST('/systems/{id}/replacement', {
          params: { path: { id: system.id }, header: { 'Idempotency-Key': key.current.key } },
          body: { serial },
        }),
      );
    },
    onSuccess: async (made) => {
      fleet.put(made.system);
      queryClient.setQueryData(offerKey(made.system.id), made.offer);
      onClose();
      await navigate({ to: '/systems/$id/setup', params: { id: made.system.id } });
    },
    onError: (thrown) => {
      const error = asApiError(thrown);
      form.setErrors({
        ...fieldTexts(t, error, ['serial']),
        ...(error.code === 'serial_taken_by_you' && { serial: problemText(t, error) }),
      });
    },
  });
  const code = replace.error ? asApiError(replace.error).code : undefined;
  return (
    <form onSubmit={form.onSubmit((values) => replace.mutate(values))} noValidate>
      <Stack>
        <Text>{t('replace.text', { name: system.name, serial: groupedSerial(system.serial) })}</Text>
        {code && code !== 'serial_taken_by_you' && code !== 'invalid' && (
          <Alert color="red" role="alert">
            {problemText(t, replace.error)}
          </Alert>
        )}
        <SerialInput label={t('replace.serial')} data-autofocus {...form.getInputProps('serial')} />
        <Group justify="flex-end">
          <Button variant="default" onClick={onClose}>
            {t('common.cancel')}
          </Button>
          <Button type="submit" loading={replace.isPending}>
            {t('replace.submit')}
          </Button>
        </Group>
      </Stack>
    </form>
  );
}
