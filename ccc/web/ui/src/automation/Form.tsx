import { Button, Group, MultiSelect, Stack, TextInput } from '@mantine/core';
import { useMutation, useQueryClient } from '@tanstack/react-query';
import { type FormEvent, useState } from 'react';
import { api, call, idempotencyKey } from '../api/client';
import { asApiError } from '../api/problem';
import { problemText } from '../api/problemText';
import type { Webhook } from '../api/types';
import { useText } from '../i18n';
import { type EventName, eventGroupNames, eventGroups } from './events';
import { webhooksQuery } from './queries';

/** Makes a webhook, or changes one. */
export function WebhookForm({
  webhook,
  onMade,
  onDone,
}: {
  webhook?: Webhook;
  onMade?(secret: string): void;
  onDone(): void;
}) {
  const { t } = useText();
  const queryClient = useQueryClient();
  const [url, setURL] = useState(webhook?.url ?? '');
  const [events, setEvents] = useState<EventName[]>(webhook?.events ?? ['system.online', 'system.offline']);
  const [sent, setSent] = useState(false);
  const save = useMutation({
    mutationFn: async () => {
      const body = { url: url.trim(), events, enabled: webhook?.enabled ?? true };
      if (webhook) {
        await call(api.PATCH('/webhooks/{id}', { params: { path: { id: webhook.id } }, body }));
        return '';
      }
      const header = { 'Idempotency-Key': idempotencyKey() };
      return (await call(api.POST('/webhooks', { params: { header }, body }))).secret;
    },
    onSuccess: async (secret) => {
      await queryClient.invalidateQueries({ queryKey: webhooksQuery.queryKey });
      if (secret) onMade?.(secret);
      else onDone();
    },
  });
  const send = (e: FormEvent) => {
    e.preventDefault();
    setSent(true);
    if (url.trim() && events.length > 0) save.mutate();
  };
  const refused = save.error ? asApiError(save.error) : null;
  const urlError =
    sent && !url.trim()
      ? t('field.required')
      : refused?.fields.some(({ location }) => location === 'body.url')
        ? t('automation.urlRefused')
        : undefined;
  return (
    <form onSubmit={send} noValidate>
      <Stack>
        <TextInput
          type="url"
          label={t('automation.url')}
          description={t('automation.urlHint')}
          placeholder="https://example.com/hook"
          maxLength={1000}
          data-autofocus
          value={url}
          error={urlError}
          onChange={(e) => setURL(e.currentTarget.value)}
        />
        <MultiSelect
          label={t('automation.events')}
          data={eventGroupNames.map((group) => ({
            group: t(`automation.group.${group}`),
            items: eventGroups[group].map((value) => ({ value, label: t(`automation.event.${value}`) })),
          }))}
          value={events}
          error={sent && events.length === 0 ? t('field.required') : undefined}
          onChange={(chosen) => setEvents(chosen as EventName[])}
          searchable
          hidePickedOptions
        />
        {refused && !urlError && <p role="alert">{problemText(t, save.error)}</p>}
        <Group justify="flex-end">
          <Button variant="default" onClick={onDone}>
            {t('common.cancel')}
          </Button>
          <Button type="submit" loading={save.isPending}>
            {t('common.save')}
          </Button>
        </Group>
      </Stack>
    </form>
  );
}
