import { Alert, Button, Group, Modal, Select, Stack, Text, TextInput } from '@mantine/core';
import { useForm } from '@mantine/form';
import { IconAlertTriangle } from '@tabler/icons-react';
import { useMutation } from '@tanstack/react-query';
import { useRef } from 'react';
import { api, call, idempotencyKey } from '../api/client';
import { asApiError } from '../api/problem';
import { fieldTexts, problemText } from '../api/problemText';
import { inTenant } from '../api/tenant';
import type { KnownTenant } from '../api/types';
import { useText } from '../i18n';
import { durationText } from '../remote/AskModal';

/** How long it may last, in minutes; the server allows eight hours. */
const durations = [30, 60, 120, 240, 480];

const maxReason = 512;

/** Enters a tenant that has not let one in, as one of the operator's staff. */
export function GlassModal({
  opened,
  tenant,
  onClose,
}: {
  opened: boolean;
  /** Which; undefined: its id is asked for. */
  tenant: KnownTenant | undefined;
  onClose(): void;
}) {
  const { t } = useText();
  return (
    <Modal
      opened={opened}
      onClose={onClose}
      size="lg"
      title={tenant ? t('organisation.glass.beginAt', { name: tenant.name }) : t('organisation.glass.begin')}
      closeButtonProps={{ 'aria-label': t('common.close') }}
    >
      {opened && <GlassForm tenant={tenant} onClose={onClose} />}
    </Modal>
  );
}

function GlassForm({ tenant, onClose }: { tenant: KnownTenant | undefined; onClose(): void }) {
  const { t } = useText();
  const key = useRef(idempotencyKey());
  const form = useForm({
    initialValues: { tenant: tenant?.id ?? '', reason: '', minutes: '60' },
    validate: {
      tenant: (v) => (v.trim() ? null : t('field.required')),
      reason: (v) => (v.trim() ? null : t('remote.ask.reasonMissing')),
    },
  });
  const begin = useMutation({
    mutationFn: (v: typeof form.values) =>
      call(
        api.POST('/break-glass', {
          params: { header: { 'Idempotency-Key': key.current } },
          body: { tenant_id: v.tenant.trim(), reason: v.reason.trim(), minutes: Number(v.minutes) },
        }),
      ),
    onSuccess: ({ tenant_id }) => window.location.assign(inTenant('/', tenant_id)),
    onError: (thrown) => {
      key.current = idempotencyKey();
      const { tenant_id, ...wrong } = fieldTexts(t, asApiError(thrown), ['tenant_id', 'reason', 'minutes']);
      form.setErrors({ ...wrong, ...(tenant_id && { tenant: tenant_id }) });
    },
  });
  const code = begin.error ? asApiError(begin.error).code : undefined;
  return (
    <form onSubmit={form.onSubmit((values) => begin.mutate(values))} noValidate>
      <Stack gap="md">
        <Alert color="yellow" icon={<IconAlertTriangle size={18} />}>
          {t('organisation.glass.warning')}
        </Alert>
        {code && code !== 'invalid' && (
          <Alert color="red" role="alert">
            {code === 'not_found' ? t('organisation.glass.noTenant') : problemText(t, begin.error)}
          </Alert>
        )}
        {!tenant && (
          <TextInput
            label={t('organisation.tenantID')}
            description={t('organisation.tenantIDHint')}
            spellCheck={false}
            autoComplete="off"
            {...form.getInputProps('tenant')}
          />
        )}
        <TextInput
          label={t('remote.ask.reason')}
          description={t('organisation.glass.reasonHint')}
          maxLength={maxReason}
          data-autofocus
          {...form.getInputProps('reason')}
        />
        <Select
          label={t('remote.ask.duration')}
          allowDeselect={false}
          data={durations.map((m) => ({ value: String(m), label: durationText(t, m) }))}
          {...form.getInputProps('minutes')}
        />
        <Text size="sm" c="dimmed">
          {t('organisation.glass.next')}
        </Text>
        <Group justify="flex-end">
          <Button variant="default" onClick={onClose}>
            {t('common.cancel')}
          </Button>
          <Button type="submit" color="red" loading={begin.isPending}>
            {t('organisation.glass.submit')}
          </Button>
        </Group>
      </Stack>
    </form>
  );
}
