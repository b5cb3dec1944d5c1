import { Anchor, Button, Skeleton, Stack, Text } from '@mantine/core';
import { useDisclosure } from '@mantine/hooks';
import { IconExternalLink, IconPlugConnected } from '@tabler/icons-react';
import { useMutation, useQueryClient } from '@tanstack/react-query';
import { Link } from '@tanstack/react-router';
import { problemText } from '../api/problemText';
import type { RemoteSession, System } from '../api/types';

import { useComplain } from '../components/notify';
import { useText } from '../i18n';
import { dateTime, timeOfDay } from '../time/format';
import { AskModal, durationText } from './AskModal';
import { bytes } from './bytes';
import { begin } from './open';
import classes from './Remote.module.css';
import { causeText, RemoteState, serviceText, TimeLeft } from './RemoteState';
import { endRemote, isOpen, useRecordsOf } from './remote';
import { useRemoteRights } from './rights';

/** How many records that are over the card has; the others are on the page of all. */
const shown = 4;

/** Remote access to one system: what is open, asking for it, and who had it. */
export function RemoteCard({ system }: { system: System }) {
  const { t } = useText();
  const { ask: mayAsk, list } = useRemoteRights();
  const [asking, ask] = useDisclosure(false);
  const { data, error, isPending } = useRecordsOf(system.id);
  if (isPending) {
    return (
      <Stack gap="md" aria-hidden="true">
        <Skeleton height={14} width="60%" />
        <Skeleton height={14} width="45%" />
      </Stack>
    );
  }
  if (!data) return <Text c="dimmed">{problemText(t, error)}</Text>;
  const open = data.items.filter(isOpen);
  const over = data.items.filter((s) => !isOpen(s));
  return (
    <Stack gap="md">
      {open.map((s) => (
        <Open key={s.id} session={s} />
      ))}
      {open.length === 0 && <Text size="sm">{t('remote.none')}</Text>}
      {mayAsk && (
        <div>
          <Button
            variant={open.length > 0 ? 'default' : 'filled'}
            leftSection={<IconPlugConnected size={16} />}
            onClick={ask.open}
            disabled={!system.online}
          >
            {t('remote.ask.button')}
          </Button>
          {!system.online && (
            <Text size="sm" c="dimmed" mt={6}>
              {t('remote.offline')}
            </Text>
          )}
        </div>
      )}
      {over.length > 0 && (
        <ul className={classes.records}>
          {over.slice(0, shown).map((s) => (
            <Record key={s.id} session={s} />
          ))}
        </ul>
      )}
      {list && data.items.length > 0 && (
        <Anchor size="sm" renderRoot={(props) => <Link {...props} to="/remote" search={{ system: system.id }} />}>
          {t('remote.all')}
        </Anchor>
      )}
      <AskModal system={system} opened={asking} onClose={ask.close} />
    </Stack>
  );
}

/** One that is open: how it stands, what is to be done next, and the buttons for that. */
function Open({ session }: { session: RemoteSession }) {
  const { t } = useText();
  const { ask: mayAsk } = useRemoteRights();
  return (
    <div className={classes.open} data-state={session.state}>
      <div className={classes.line} aria-live="polite">
        <RemoteState session={session} />
        <TimeLeft session={session} />
      </div>
      <p className={classes.who}>
        {session.user.name} · {serviceText(t, session)} · {durationText(t, session.minutes)}
        <br />
        {t('remote.because', { reason: session.reason })}
      </p>
      <p className={classes.next}>{t(`remote.next.${nextOf(session)}`)}</p>
      <div className={classes.buttons}>
        {session.own && session.start_url && (
          <Button size="sm" leftSection={<IconExternalLink size={16} />} onClick={() => begin(session)}>
            {session.state === 'active' ? t('remote.open') : t('remote.enterPin')}
          </Button>
        )}
        {mayAsk && <EndButton session={session} />}
      </div>
    </div>
  );
}

function nextOf(s: RemoteSession): 'requested' | 'pending' | 'active' | 'other' {
  if (!s.own) return 'other';
  return s.state === 'active' || s.state === 'pending' ? s.state : 'requested';
}

export function EndButton({ session }: { session: RemoteSession }) {
  const { t } = useText();
  const complain = useComplain();
  const queryClient = useQueryClient();
  const end = useMutation({
    mutationFn: () => endRemote(session),
    onError: complain,
    onSettled: () => queryClient.invalidateQueries({ queryKey: ['remote'] }),
  });
  return (
    <Button size="sm" variant="default" loading={end.isPending} onClick={() => end.mutate()}>
      {session.state === 'active' ? t('remote.end') : t('remote.takeBack')}
    </Button>
  );
}

/** One that is over: who, why, when, how it ended, and how much. */
function Record({ session: s }: { session: RemoteSession }) {
  const { t, language } = useText();
  return (
    <li>
      <div>
        <RemoteState session={s} /> {causeText(t, s)}
      </div>
      <div>{t('remote.because', { reason: s.reason })}</div>
      <div className={classes.when}>
        {s.user.name} ·{' '}
        {s.started_at ? (
          <>
            <time dateTime={s.started_at}>{dateTime(s.started_at, language)}</time>
            {s.ended_at && (
              <>
                {' – '}
                <time dateTime={s.ended_at}>{timeOfDay(s.ended_at, language)}</time>
              </>
            )}
            {' · '}
            {t('remote.bytes', { in: bytes(s.bytes_in, language), out: bytes(s.bytes_out, language) })}
          </>
        ) : (
          <time dateTime={s.requested_at}>{dateTime(s.requested_at, language)}</time>
        )}
      </div>
    </li>
  );
}
