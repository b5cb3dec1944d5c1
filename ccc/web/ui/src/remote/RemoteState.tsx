import type { TFunction } from 'i18next';
import type { RemoteSession } from '../api/types';
import { useText } from '../i18n';
import { useSecond } from '../time/clock';
import { countdown, secondsLeft } from '../time/format';
import classes from './Remote.module.css';

const causes = [
  'user',
  'admin',
  'time',
  'switch',
  'ccc',
  'dissolved',
  'reset',
  'restart',
  'no-consent',
  'wrong-pin',
  'unreachable',
] as const;

/** Why it is over, in words; a server that is newer than the page may know others. */
export function causeText(t: TFunction, s: RemoteSession): string {
  const known = causes.find((c) => c === s.cause);
  return known ? t(`remoteCause.${known}`) : (s.cause ?? '');
}

/** How a remote access stands, in words. */
export function stateText(t: TFunction, s: RemoteSession): string {
  return t(`remoteState.${s.state}`);
}

const tones = {
  requested: 'wait',
  pending: 'wait',
  active: 'on',
  ended: 'off',
  refused: 'bad',
  expired: 'bad',
} as const satisfies Record<RemoteSession['state'], string>;

/** The state as a word with its colour. */
export function RemoteState({ session }: { session: RemoteSession }) {
  const { t } = useText();
  return (
    <span className={classes.state} data-tone={tones[session.state]}>
      {stateText(t, session)}
    </span>
  );
}

/** What is left of the time, or of the time to consent. */
export function TimeLeft({ session }: { session: RemoteSession }) {
  const { t } = useText();
  const now = useSecond();
  const until = session.state === 'active' ? session.until : session.expires_at;
  if (!until) return null;
  const time = countdown(secondsLeft(until, now));
  return (
    <span className={classes.left} role="timer">
      {session.state === 'active' ? t('remote.left', { time }) : t('remote.waits', { time })}
    </span>
  );
}

/** What is to be reached. */
export function serviceText(t: TFunction, s: Pick<RemoteSession, 'service' | 'target'>): string {
  const service = t(`remote.service.${s.service}`);
  return s.target ? `${service}: ${s.target}` : service;
}
