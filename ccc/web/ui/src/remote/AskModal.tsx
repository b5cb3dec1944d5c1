import { Button, Group, Modal, Select, Stack, TextInput } from '@mantine/core';
import { useForm } from '@mantine/form';
import { useMutation, useQueryClient } from '@tanstack/react-query';
import type { TFunction } from 'i18next';
import { useRef } from 'react';
import { api, call, idempotencyKey } from '../api/client';
import { asApiError } from '../api/problem';
import { fieldTexts } from '../api/problemText';
import type { RemoteSession, System } from '../api/types';
import { useText } from '../i18n';
import { Refused } from './Refused';
import classes from './Remote.module.css';

const services = ['web', 'tls', 'ssh', 'tcp'] as const satisfies RemoteSession['service'][];
const durations = [15, 30, 60, 120, 240, 480, 1440];
const usual = '60';

/** In UTF-8, as the server and the PBX count. */
const maxReason = 512;

const targeted = (service: string) => service === 'ssh' || service === 'tcp';

export function durationText(t: TFunction, minutes: number): string {
  return minutes % 60 === 0 ? t('remote.hours', { count: minutes / 60 }) : t('remote.minutes', { count: minutes });
}

/** Asks for remote access: why, for how long, and to what. */
export function AskModal({ system, opened, onClose }: { system: System; opened: boolean; onClose(): void }) {
  const { t } = useText();
  return (
    <Modal
      opened={opened}
      onClose={onClose}
      title={t('remote.ask.title', { name: system.name })}
      size="lg"
      closeButtonProps={{ 'aria-label': t('common.close') }}
    >
      <AskForm system={system} onClose={onClose} />
    </Modal>
  );
}

function AskForm({ system, onClose }: { system: System; onClose(): void }) {
  const { t } = useText();
  const queryClient = useQueryClient();
  // A second click, or a second try after a lost answer, is the same request.
  const key = useRef({ body: '', key: '' });
  const form = useForm({
    initialValues: { reason: '', minutes: usual, service: 'web' as string, target: '' },
    validate: {
      reason: (v) =>
        v.trim() === ''
          ? t('remote.ask.reasonMissing')
          : new TextEncoder().encode(v.trim()).length > maxReason
            ? t('field.too_long')
            : null,
      target: (v, all) => (targeted(all.service) && !/^[a-z0-9._-]+$/.test(v) ? t('remote.ask.targetWrong') : null),
    },
  });
  const ask = useMutation({
    mutationFn: (v: typeof form.values) => {
      const body = {
        reason: v.reason.trim(),
        minutes: Number(v.minutes),
        service: services.find((s) => s === v.service) ?? 'web',
        ...(targeted(v.service) && { target: v.target }),
      };
      const text = JSON.stringify(body);
      if (key.current.body !== text) key.current = { body: text, key: idempotencyKey() };
      const header = { 'Idempotency-Key': key.current.key };
      return call(api.POST('/systems/{id}/remote', { params: { path: { id: system.id }, header }, body }));
    },
    onSuccess: async () => {
      await queryClient.invalidateQueries({ queryKey: ['remote'] });
      onClose();
    },
    onError: (thrown) => {
      // What was refused is a record already; the next try is another request.
      key.current = { body: '', key: '' };
      void queryClient.invalidateQueries({ queryKey: ['remote'] });
      form.setErrors(fieldTexts(t, asApiError(thrown), ['reason', 'minutes', 'service', 'target']));
    },
  });
  return (
    <form onSubmit={form.onSubmit((values) => ask.mutate(values))} noValidate>
      <Stack gap="md">
        {ask.error && asApiError(ask.error).code !== 'invalid' && <Refused error={ask.error} />}
        <TextInput
          label={t('remote.ask.reason')}
          description={t('remote.ask.reasonHint')}
          maxLength={maxReason}
          data-autofocus
          required
          withAsterisk={false}
          {...form.getInputProps('reason')}
        />
        <Group grow align="flex-start">
          <Select
            label={t('remote.ask.duration')}
            allowDeselect={false}
            data={durations.map((m) => ({ value: String(m), label: durationText(t, m) }))}
            {...form.getInputProps('minutes')}
          />
          <Select
            label={t('remote.ask.service')}
            allowDeselect={false}
            data={services.map((s) => ({ value: s, label: t(`remote.service.${s}`) }))}
            {...form.getInputProps('service')}
          />
        </Group>
        {targeted(form.values.service) && (
          <TextInput
            label={t('remote.ask.target')}
            description={t('remote.ask.targetHint')}
            maxLength={64}
            autoCapitalize="none"
            spellCheck={false}
            {...form.getInputProps('target')}
          />
        )}
        <div>
          <strong>{t('remote.ask.next')}</strong>
          <ol className={classes.steps}>
            <li>{t('remote.ask.step1')}</li>
            <li>{t('remote.ask.step2')}</li>
            <li>{t('remote.ask.step3')}</li>
          </ol>
        </div>
        <Group justify="flex-end">
          <Button variant="default" onClick={onClose}>
            {t('common.cancel')}
          </Button>
          <Button type="submit" loading={ask.isPending}>
            {t('remote.ask.submit')}
          </Button>
        </Group>
      </Stack>
    </form>
  );
}
