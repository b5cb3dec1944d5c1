import { Alert, Button, Group, Modal, Stack, Text } from '@mantine/core';
import { useMutation, useQueryClient } from '@tanstack/react-query';
import { useNavigate } from '@tanstack/react-router';
import { useRef, useState } from 'react';
import { api, call, idempotencyKey } from '../api/client';
import { asApiError } from '../api/problem';
import { fieldTexts, problemText } from '../api/problemText';
import type { System } from '../api/types';
import { tell } from '../components/notify';
import { useText } from '../i18n';
import { handoversQuery } from './queries';
import { TenantField } from './Tenants';

/** Offers a system to another tenant. */
export function HandoverModal({ system, opened, onClose }: { system: System; opened: boolean; onClose(): void }) {
  const { t } = useText();
  return (
    <Modal
      opened={opened}
      onClose={onClose}
      size="lg"
      title={t('organisation.handover.title', { name: system.name })}
      closeButtonProps={{ 'aria-label': t('common.close') }}
    >
      <HandoverForm system={system} onClose={onClose} />
    </Modal>
  );
}

function HandoverForm({ system, onClose }: { system: System; onClose(): void }) {
  const { t } = useText();
  const queryClient = useQueryClient();
  const navigate = useNavigate();
  const key = useRef(idempotencyKey());
  const [to, setTo] = useState('');
  const [sent, setSent] = useState(false);
  const offer = useMutation({
    mutationFn: () => {
      const header = { 'Idempotency-Key': key.current };
      return call(
        api.POST('/systems/{id}/handover', { params: { path: { id: system.id }, header }, body: { tenant_id: to } }),
      );
    },
    onSuccess: async () => {
      tell(t('organisation.handover.offered', { name: system.name }));
      await queryClient.invalidateQueries({ queryKey: handoversQuery.queryKey });
      onClose();
      await navigate({ to: '/organisation/handovers' });
    },
    onError: () => {
      key.current = idempotencyKey();
    },
  });
  const failed = offer.error ? asApiError(offer.error) : undefined;
  const wrong = failed ? fieldTexts(t, failed, ['tenant_id']).tenant_id : undefined;
  return (
    <form
      onSubmit={(e) => {
        e.preventDefault();
        setSent(true);
        if (to) offer.mutate();
      }}
      noValidate
    >
      <Stack gap="md">
        {failed && !wrong && (
          <Alert color="red" role="alert">
            {failed.code === 'conflict' ? t('organisation.handover.already') : problemText(t, failed)}
          </Alert>
        )}
        <Text>{t('organisation.handover.text')}</Text>
        <TenantField value={to} onChange={setTo} error={wrong ?? (sent && !to ? t('field.required') : undefined)} />
        <Group justify="flex-end">
          <Button variant="default" onClick={onClose}>
            {t('common.cancel')}
          </Button>
          <Button type="submit" loading={offer.isPending}>
            {t('organisation.handover.submit')}
          </Button>
        </Group>
      </Stack>
    </form>
  );
}
