import { Button, Group, Modal, Skeleton, Text } from '@mantine/core';
import { useMutation, useQuery, useQueryClient } from '@tanstack/react-query';
import { useState } from 'react';
import { api, call } from '../api/client';
import { problemText } from '../api/problemText';
import type { Webhook, WebhookDelivery } from '../api/types';
import { tell, useComplain } from '../components/notify';
import { useText } from '../i18n';
import { dateTime, milliseconds } from '../time/format';
import classes from './Automation.module.css';
import type { EventName } from './events';
import { deliveriesQuery, deliveryQuery } from './queries';

/** What a failed delivery is looked for again, in days. */
const replayDays = 7;

/** What a webhook was told, the newest first. */
export function DeliveryLog({ webhook, manage }: { webhook: Webhook; manage: boolean }) {
  const { t } = useText();
  const { data, error } = useQuery(deliveriesQuery(webhook.id));
  const [shown, setShown] = useState('');
  if (error && !data) return <Text mt="sm">{problemText(t, error)}</Text>;
  if (!data) return <Skeleton height={48} mt="sm" />;
  return (
    <>
      {data.length === 0 && (
        <Text mt="sm" c="dimmed">
          {t('automation.noDeliveries')}
        </Text>
      )}
      {manage && data.some(({ state }) => state === 'failed') && <ReplayAll webhook={webhook} />}
      <ul className={classes.list}>
        {data.map((delivery) => (
          <Entry
            key={delivery.id}
            webhook={webhook}
            delivery={delivery}
            manage={manage}
            onShow={() => setShown(delivery.id)}
          />
        ))}
      </ul>
      <Modal
        opened={shown !== ''}
        onClose={() => setShown('')}
        title={t('automation.delivery')}
        closeButtonProps={{ 'aria-label': t('common.close') }}
      >
        {shown && <Details webhook={webhook} id={shown} />}
      </Modal>
    </>
  );
}

function useEventText() {
  const { t } = useText();
  return (event: string) =>
    event === 'webhook.test'
      ? t('automation.test')
      : t(`automation.event.${event as EventName}`, { defaultValue: event });
}

function ReplayAll({ webhook }: { webhook: Webhook }) {
  const { t } = useText();
  const complain = useComplain();
  const queryClient = useQueryClient();
  const replay = useMutation({
    mutationFn: () =>
      call(
        api.POST('/webhooks/{id}/replay', {
          params: { path: { id: webhook.id } },
          body: { since: new Date(Date.now() - replayDays * 86_400_000).toISOString() },
        }),
      ),
    onSuccess: ({ deliveries }) => {
      tell(t('automation.replayed', { count: deliveries }));
      return queryClient.invalidateQueries({ queryKey: deliveriesQuery(webhook.id).queryKey });
    },
    onError: complain,
  });
  return (
    <Button
      size="compact-sm"
      variant="default"
      mt="sm"
      classNames={{ root: classes.wide, label: classes.wideLabel }}
      loading={replay.isPending}
      onClick={() => replay.mutate()}
    >
      {t('automation.replayAll', { count: replayDays })}
    </Button>
  );
}

function Entry({
  webhook,
  delivery,
  manage,
  onShow,
}: {
  webhook: Webhook;
  delivery: WebhookDelivery;
  manage: boolean;
  onShow(): void;
}) {
  const { t, language } = useText();
  const complain = useComplain();
  const eventText = useEventText();
  const queryClient = useQueryClient();
  const replay = useMutation({
    mutationFn: () =>
      call(
        api.POST('/webhooks/{id}/deliveries/{delivery}/replay', {
          params: { path: { id: webhook.id, delivery: delivery.id } },
        }),
      ),
    onSuccess: () => queryClient.invalidateQueries({ queryKey: deliveriesQuery(webhook.id).queryKey }),
    onError: complain,
  });
  return (
    <li className={classes.item}>
      <div className={classes.what}>
        {eventText(delivery.event)}
        <span className={classes.more}>
          {dateTime(delivery.created_at, language)}
          {' · '}
          {t(`automation.deliveryState.${delivery.state}`)}
          {' · '}
          {t('automation.tries', { count: delivery.tries })}
        </span>
      </div>
      <Group gap="xs">
        <Button size="compact-sm" variant="subtle" onClick={onShow}>
          {t('automation.details')}
        </Button>
        {manage && delivery.state !== 'waiting' && (
          <Button size="compact-sm" variant="subtle" loading={replay.isPending} onClick={() => replay.mutate()}>
            {t('automation.replay')}
          </Button>
        )}
      </Group>
    </li>
  );
}

function Details({ webhook, id }: { webhook: Webhook; id: string }) {
  const { t, language } = useText();
  const { data, error } = useQuery(deliveryQuery(webhook.id, id));
  if (error && !data) return <Text>{problemText(t, error)}</Text>;
  if (!data) return <Skeleton height={96} />;
  return (
    <>
      <pre className={classes.body}>{JSON.stringify(data.body, null, 2)}</pre>
      <ul className={classes.list}>
        {data.log?.map((one) => (
          <li key={one.at} className={classes.item}>
            <div className={classes.what}>
              {one.failure
                ? one.failure === 'status'
                  ? t('automation.answered', { status: one.status ?? 0 })
                  : t(`automation.failure.${one.failure}`)
                : t('automation.answered', { status: one.status ?? 0 })}
              <span className={classes.more}>
                {dateTime(one.at, language)}
                {' · '}
                {milliseconds(one.milliseconds, language)}
              </span>
            </div>
          </li>
        ))}
      </ul>
      {data.next_at && <Text size="sm">{t('automation.nextAt', { time: dateTime(data.next_at, language) })}</Text>}
    </>
  );
}
