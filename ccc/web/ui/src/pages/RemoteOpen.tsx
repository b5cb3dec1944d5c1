import { Box, Button, Container, Group, Loader, Paper, Title } from '@mantine/core';
import { IconAlertTriangle, IconExternalLink, IconLock, IconMapQuestion } from '@tabler/icons-react';
import { useMutation } from '@tanstack/react-query';
import { Link, useParams, useSearch } from '@tanstack/react-router';
import { type ReactNode, useEffect, useState } from 'react';
import { api, call } from '../api/client';
import { asApiError } from '../api/problem';
import { problemText } from '../api/problemText';
import type { RemoteSession } from '../api/types';
import { useTitle } from '../app/useTitle';
import { BackLink } from '../components/BackLink';
import { useSystem } from '../fleet/store';
import { useText } from '../i18n';
import { begin, enter, hasBegun } from '../remote/open';
import { Refused } from '../remote/Refused';
import classes from '../remote/Remote.module.css';
import { EndButton } from '../remote/RemoteCard';
import { causeText, RemoteState, serviceText, stateText, TimeLeft } from '../remote/RemoteState';
import { isOpen, useRecord } from '../remote/remote';
import { groupedSerial } from '../serial';
import { Notice } from './Failure';

/** Where the gateway sends a browser back to: what is about to be opened, and the way in. */
export function RemoteOpenPage() {
  const { t } = useText();
  const { session } = useParams({ from: '/shell/remote/$session' });
  const { data, error, refetch } = useRecord(session);
  useTitle(t('remote.title'));
  if (data) return <Session session={data} />;
  if (error && asApiError(error).code === 'not_found') {
    return (
      <Notice icon={<IconMapQuestion size={40} stroke={1.4} />} title={t('remote.gone.title')} action={<ToAll />}>
        {t('remote.gone.text')}
      </Notice>
    );
  }
  if (error) {
    return (
      <Notice
        icon={<IconAlertTriangle size={40} stroke={1.4} />}
        title={t('failure.title')}
        action={<Button onClick={() => void refetch()}>{t('failure.retry')}</Button>}
      >
        {problemText(t, error)}
      </Notice>
    );
  }
  return <Loader m="xl" aria-label={t('remote.title')} />;
}

function Session({ session }: { session: RemoteSession }) {
  const { t } = useText();
  if (!session.own) {
    return (
      <Notice
        icon={<IconLock size={40} stroke={1.4} />}
        title={t('remote.notOwn.title')}
        action={<ToSystem of={session} />}
      >
        {t('remote.notOwn.text', { name: session.user.name })}
      </Notice>
    );
  }
  if (!isOpen(session)) {
    return (
      <Notice
        icon={<IconMapQuestion size={40} stroke={1.4} />}
        title={t('remote.over.title')}
        action={<ToSystem of={session} />}
      >
        {stateText(t, session)} {causeText(t, session)}
      </Notice>
    );
  }
  return <Enter session={session} />;
}

function Enter({ session }: { session: RemoteSession }) {
  const { t } = useText();
  const { label, browser } = useSearch({ from: '/shell/remote/$session' });
  const system = useSystem(session.system_id);
  const [sent, setSent] = useState(false);
  // Looked at once: who reloads the page says once more that he wants in.
  const [begun] = useState(() => hasBegun(session.id));
  const { mutate, error, isPending } = useMutation({
    mutationFn: (at: { label: string; browser: string }) =>
      call(
        api.POST('/systems/{id}/remote/{session}/grant', {
          params: { path: { id: session.system_id, session: session.id } },
          body: at,
        }),
      ),
    onSuccess: (ticket) => {
      setSent(true);
      enter(ticket);
    },
  });
  const wanted = begun && label && browser ? { label, browser } : undefined;
  const [automatic, setAutomatic] = useState(wanted);
  useEffect(() => {
    if (!automatic) return;
    setAutomatic(undefined);
    mutate(automatic);
  }, [automatic, mutate]);
  useEffect(() => {
    // Who comes back from the gateway, which refuses grants within seconds after its start,
    // gets another one with another click.
    const again = (e: PageTransitionEvent) => e.persisted && setSent(false);
    window.addEventListener('pageshow', again);
    return () => window.removeEventListener('pageshow', again);
  }, []);
  const code = error ? asApiError(error).code : undefined;
  return (
    <Container size="sm" className={classes.page}>
      <BackLink to="/systems/$id" params={{ id: session.system_id }} label={system?.name ?? t('fleet.title')} />
      <Title order={1}>{t('remote.enter.title')}</Title>
      <p className={classes.lead}>{t('remote.enter.lead')}</p>
      <Paper withBorder radius="lg" className={classes.card}>
        <dl className={classes.facts}>
          <Fact label={t('remote.enter.system')}>
            {system?.name} <span className="mono">{groupedSerial(session.serial)}</span>
          </Fact>
          <Fact label={t('remote.column.service')}>{serviceText(t, session)}</Fact>
          <Fact label={t('remote.ask.reason')}>{session.reason}</Fact>
          <Fact label={t('remote.column.state')}>
            <span aria-live="polite">
              <RemoteState session={session} /> <TimeLeft session={session} />
            </span>
          </Fact>
        </dl>
        {error && (
          <Box mb="md">
            <Refused error={error} />
          </Box>
        )}
        <Group>
          {label && browser ? (
            <Button
              leftSection={<IconExternalLink size={16} />}
              loading={isPending || sent}
              disabled={code === 'remote_over' || code === 'not_requester'}
              onClick={() => mutate({ label, browser })}
            >
              {session.state === 'active' ? t('remote.open') : t('remote.enterPin')}
            </Button>
          ) : (
            <Button
              leftSection={<IconExternalLink size={16} />}
              disabled={!session.start_url}
              onClick={() => begin(session)}
            >
              {session.state === 'active' ? t('remote.open') : t('remote.enterPin')}
            </Button>
          )}
          <EndButton session={session} />
        </Group>
      </Paper>
    </Container>
  );
}

function Fact({ label, children }: { label: string; children: ReactNode }) {
  return (
    <div className={classes.fact}>
      <dt>{label}</dt>
      <dd>{children}</dd>
    </div>
  );
}

function ToSystem({ of }: { of: RemoteSession }) {
  const { t } = useText();
  const system = useSystem(of.system_id);
  if (!system) return <ToAll />;
  return (
    <Button renderRoot={(props) => <Link {...props} to="/systems/$id" params={{ id: of.system_id }} />}>
      {t('remote.toSystem')}
    </Button>
  );
}

function ToAll() {
  const { t } = useText();
  return <Button renderRoot={(props) => <Link {...props} to="/remote" />}>{t('remote.all')}</Button>;
}
