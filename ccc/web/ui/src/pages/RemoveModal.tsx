import { Alert, Button, Group, Modal, Stack, Text } from '@mantine/core';
import { useMutation } from '@tanstack/react-query';
import { useState } from 'react';
import { api, call } from '../api/client';
import { asApiError } from '../api/problem';
import { problemText } from '../api/problemText';
import type { System } from '../api/types';
import { tell } from '../components/notify';
import { SerialInput } from '../components/SerialInput';
import { fleet } from '../fleet/store';
import { useText } from '../i18n';
import { groupedSerial, normalSerial } from '../serial';

interface Props {
  system: System;
  opened: boolean;
  onClose(): void;
  onRemoved(): void;
}

/** Removes a system, once its serial has been typed. */
export function RemoveModal({ system, opened, onClose, onRemoved }: Props) {
  const { t } = useText();
  return (
    <Modal
      opened={opened}
      onClose={onClose}
      title={t('remove.title', { name: system.name })}
      closeButtonProps={{ 'aria-label': t('common.close') }}
    >
      <RemoveForm system={system} onClose={onClose} onRemoved={onRemoved} />
    </Modal>
  );
}

function RemoveForm({ system, onClose, onRemoved }: Omit<Props, 'opened'>) {
  const { t } = useText();
  const [typed, setTyped] = useState('');
  const removal = useMutation({
    mutationFn: async () => {
      try {
        await call(api.DELETE('/systems/{id}', { params: { path: { id: system.id } } }));
      } catch (thrown) {
        // Somebody else was faster, which is as good.
        if (asApiError(thrown).code !== 'not_found') throw thrown;
      }
    },
    onSuccess: () => {
      onRemoved();
      fleet.remove(system.id);
      tell(t('remove.done', { name: system.name }));
    },
  });
  const same = normalSerial(typed) === system.serial;
  return (
    <form
      onSubmit={(e) => {
        e.preventDefault();
        if (same) removal.mutate();
      }}
    >
      <Stack>
        <Text>{system.state === 'paired' ? t('remove.textPaired') : t('remove.text')}</Text>
        {removal.error && (
          <Alert color="red" role="alert">
            {problemText(t, removal.error)}
          </Alert>
        )}
        <SerialInput
          label={t('remove.confirm', { serial: groupedSerial(system.serial) })}
          value={typed}
          onChange={setTyped}
          data-autofocus
        />
        <Group justify="flex-end">
          <Button variant="default" onClick={onClose}>
            {t('common.cancel')}
          </Button>
          <Button type="submit" color="red" disabled={!same} loading={removal.isPending}>
            {t('remove.submit')}
          </Button>
        </Group>
      </Stack>
    </form>
  );
}
