import { Button, Paper, Text } from '@mantine/core';
import { useInfiniteQuery, useMutation, useQueryClient } from '@tanstack/react-query';
import { useNavigate } from '@tanstack/react-router';
import { useRef, useState } from 'react';
import { api, call, idempotencyKey } from '../api/client';
import type { Handover } from '../api/types';
import { useMay } from '../app/meta';
import { useComplain } from '../components/notify';
import { fleet } from '../fleet/store';
import { useText } from '../i18n';
import { groupedSerial } from '../serial';
import { dateTime } from '../time/format';
import { Needs } from './Needs';
import classes from './Organisation.module.css';
import { Paged } from './Paged';
import { handoversQuery } from './queries';

/** Systems on their way from one tenant to another, as both sides see them. */
export function HandoversPage() {
  const { t } = useText();
  const { whole } = useMay();
  const may = whole('system.read');
  const handovers = useInfiniteQuery({ ...handoversQuery, enabled: may });
  if (!may) return <Needs verb="system.read" />;
  return (
    <>
      <Text c="dimmed" mb="md">
        {t('organisation.handover.lead')}
      </Text>
      {!whole('handover.accept') && <Needs verb="handover.accept" />}
      <Paper withBorder radius="lg" className={classes.section}>
        <Paged result={handovers} empty={t('organisation.handover.none')}>
          {(handover) => <Entry key={handover.id} handover={handover} />}
        </Paged>
      </Paper>
    </>
  );
}

/** Of the states: how they look. */
const tones: Partial<Record<Handover['state'], string>> = { offered: 'warn', accepted: 'warn', declined: 'bad' };

function Entry({ handover }: { handover: Handover }) {
  const { t, language } = useText();
  const { whole } = useMay();
  const complain = useComplain();
  const navigate = useNavigate();
  const queryClient = useQueryClient();
  const [asked, setAsked] = useState(false);
  const key = useRef(idempotencyKey());
  const { id, state, serial, direction } = handover;
  const incoming = direction === 'in';
  const refresh = () => queryClient.invalidateQueries({ queryKey: handoversQuery.queryKey });
  const accept = useMutation({
    mutationFn: () =>
      call(
        api.POST('/handovers/{id}/acceptance', {
          params: { path: { id }, header: { 'Idempotency-Key': key.current } },
        }),
      ),
    onSuccess: async ({ system }) => {
      fleet.put(system);
      void refresh();
      await navigate({ to: '/systems/$id/setup', params: { id: system.id } });
    },
    onError: (thrown) => {
      key.current = idempotencyKey();
      complain(thrown);
      void refresh();
    },
  });
  const end = useMutation({
    mutationFn: () => call(api.DELETE('/handovers/{id}', { params: { path: { id } } })),
    onError: complain,
    onSettled: refresh,
  });
  const open = state === 'offered' || (incoming && state === 'accepted');
  return (
    <li className={classes.item} data-over={state !== 'offered' && state !== 'accepted'}>
      <div className={classes.what}>
        <span className={classes.name}>
          {handover.name ? `${handover.name} ` : ''}
          <span className="mono">{groupedSerial(serial)}</span>
        </span>
        <span className={classes.more}>
          {t(incoming ? 'organisation.handover.from' : 'organisation.handover.to', {
            name: handover.tenant ?? handover.tenant_id,
          })}
        </span>
        <span className={classes.more}>
          {state === 'offered'
            ? t('organisation.handover.until', { time: dateTime(handover.expires_at, language) })
            : dateTime(handover.decided_at ?? handover.created_at, language)}
        </span>
        <div className={classes.badges}>
          <span className={classes.badge} data-tone={tones[state]}>
            {t(`organisation.handover.state.${state}`)}
          </span>
        </div>
      </div>
      <div className={classes.buttons}>
        {open && incoming && whole('handover.accept') && (
          <Button
            size="compact-sm"
            loading={accept.isPending}
            aria-label={asked ? undefined : t('organisation.handover.acceptSerial', { serial: groupedSerial(serial) })}
            onClick={() => (asked ? accept.mutate() : setAsked(true))}
          >
            {t(asked ? 'organisation.handover.acceptSure' : 'organisation.handover.accept')}
          </Button>
        )}
        {state === 'offered' && whole(incoming ? 'handover.accept' : 'system.handover') && (
          <Button
            size="compact-sm"
            variant="default"
            loading={end.isPending}
            aria-label={t(incoming ? 'organisation.handover.declineSerial' : 'organisation.handover.withdrawSerial', {
              serial: groupedSerial(serial),
            })}
            onClick={() => end.mutate()}
          >
            {t(incoming ? 'organisation.handover.decline' : 'organisation.handover.withdraw')}
          </Button>
        )}
      </div>
      {asked && open && (
        <Text size="sm" c="dimmed" w="100%" role="status">
          {t('organisation.handover.acceptText')}
        </Text>
      )}
    </li>
  );
}
