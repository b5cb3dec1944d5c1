import { Button, Group, Modal, Paper, Switch } from '@mantine/core';
import { useMutation, useQueryClient } from '@tanstack/react-query';
import { useId, useState } from 'react';
import { api, call, idempotencyKey } from '../api/client';
import type { Webhook } from '../api/types';
import { useMay } from '../app/meta';
import { tell, useComplain } from '../components/notify';
import { useText } from '../i18n';
import { dateTime } from '../time/format';
import classes from './Automation.module.css';
import { WebhookForm } from './Form';
import { DeliveryLog } from './Log';
import { webhooksQuery } from './queries';
import { Secret } from './Secret';

/** One webhook, how its receiver is, and what it was told. */
export function WebhookCard({ webhook }: { webhook: Webhook }) {
  const { t, language } = useText();
  const { whole } = useMay();
  const id = useId();
  const [log, setLog] = useState(false);
  const [editing, setEditing] = useState(false);
  const manage = whole('webhooks.manage');
  return (
    <Paper withBorder radius="lg" className={classes.section} component="article" aria-labelledby={id}>
      <div className={classes.head}>
        <span id={id} className={classes.url}>
          {webhook.url}
        </span>
        <span className={classes.state} data-state={webhook.state}>
          {webhook.state === 'paused' && webhook.paused_until
            ? t('automation.pausedUntil', { time: dateTime(webhook.paused_until, language) })
            : t(`automation.state.${webhook.state}`)}
        </span>
      </div>
      {webhook.failing_since && (
        <span className={classes.more}>
          {t('automation.failingSince', {
            count: webhook.failures,
            time: dateTime(webhook.failing_since, language),
          })}
        </span>
      )}
      {webhook.old_secret_until && (
        <span className={classes.more}>
          {t('automation.oldSecret', { time: dateTime(webhook.old_secret_until, language) })}
        </span>
      )}
      <ul className={classes.badges}>
        {webhook.events.map((event) => (
          <li key={event} className={classes.badge}>
            {t(`automation.event.${event}`)}
          </li>
        ))}
      </ul>
      <Group gap="xs">
        {manage && <Tools webhook={webhook} onEdit={() => setEditing(true)} onTest={() => setLog(true)} />}
        <Button size="compact-sm" variant="default" aria-expanded={log} onClick={() => setLog(!log)}>
          {log ? t('automation.hideLog') : t('automation.showLog')}
        </Button>
      </Group>
      {log && <DeliveryLog webhook={webhook} manage={manage} />}
      <Modal
        opened={editing}
        onClose={() => setEditing(false)}
        title={t('automation.edit')}
        closeButtonProps={{ 'aria-label': t('common.close') }}
      >
        <WebhookForm webhook={webhook} onDone={() => setEditing(false)} />
      </Modal>
    </Paper>
  );
}

function Tools({ webhook, onEdit, onTest }: { webhook: Webhook; onEdit(): void; onTest(): void }) {
  const { t } = useText();
  const complain = useComplain();
  const queryClient = useQueryClient();
  const [asked, setAsked] = useState(false);
  const [secret, setSecret] = useState('');
  const params = { path: { id: webhook.id } };
  const refresh = () => queryClient.invalidateQueries({ queryKey: webhooksQuery.queryKey });
  const key = () => ({ ...params, header: { 'Idempotency-Key': idempotencyKey() } });
  const test = useMutation({
    mutationFn: () => call(api.POST('/webhooks/{id}/test', { params: key() })),
    onSuccess: () => {
      tell(t('automation.tested'));
      onTest();
      return refresh();
    },
    onError: complain,
  });
  const enable = useMutation({
    mutationFn: (enabled: boolean) => call(api.PATCH('/webhooks/{id}', { params, body: { enabled } })),
    onSuccess: refresh,
    onError: complain,
  });
  const rotate = useMutation({
    mutationFn: () => call(api.POST('/webhooks/{id}/secret', { params: key() })),
    onSuccess: (made) => {
      setSecret(made.secret);
      return refresh();
    },
    onError: complain,
  });
  const remove = useMutation({
    mutationFn: () => call(api.DELETE('/webhooks/{id}', { params })),
    onSuccess: refresh,
    onError: complain,
  });
  return (
    <>
      <Switch
        label={t('automation.enabled')}
        checked={webhook.enabled}
        disabled={enable.isPending}
        onChange={(e) => enable.mutate(e.currentTarget.checked)}
      />
      <Button
        size="compact-sm"
        variant="default"
        disabled={!webhook.enabled}
        loading={test.isPending}
        onClick={() => test.mutate()}
      >
        {t('automation.test')}
      </Button>
      <Button size="compact-sm" variant="default" onClick={onEdit}>
        {t('automation.edit')}
      </Button>
      <Button size="compact-sm" variant="default" loading={rotate.isPending} onClick={() => rotate.mutate()}>
        {t('automation.rotate')}
      </Button>
      {asked ? (
        <Button size="compact-sm" color="red" loading={remove.isPending} onClick={() => remove.mutate()}>
          {t('automation.removeSure')}
        </Button>
      ) : (
        <Button size="compact-sm" variant="default" onClick={() => setAsked(true)}>
          {t('automation.remove')}
        </Button>
      )}
      <Modal
        opened={secret !== ''}
        onClose={() => setSecret('')}
        title={t('automation.rotate')}
        closeButtonProps={{ 'aria-label': t('common.close') }}
      >
        <Secret secret={secret} onDone={() => setSecret('')} />
      </Modal>
    </>
  );
}
