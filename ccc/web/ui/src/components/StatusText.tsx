import type { System } from '../api/types';
import { kindOfStatus, statusOf, statusSince } from '../fleet/status';
import { reasonOf } from '../history/reason';
import { useText } from '../i18n';
import { Since } from './Since';
import classes from './StatusText.module.css';

/** The mark of a system's status; its colour and form repeat what StatusText says. */
export function StatusDot({ system, size = 'sm' }: { system: System; size?: 'sm' | 'lg' }) {
  return (
    <span className={classes.dot} data-kind={kindOfStatus(statusOf(system))} data-size={size} aria-hidden="true" />
  );
}

/** A system's status in words. */
export function useStatusText(system: System): string {
  const { t } = useText();
  const status = statusOf(system);
  return status === 'error' ? t(`status.error_${system.error_code ?? 'auth'}`) : t(`status.${status}`);
}

/** A system's status in words, since when and, of one that is offline, why. */
export function StatusText({ system }: { system: System }) {
  const { t } = useText();
  const text = useStatusText(system);
  const reason = reasonOf(system);
  return (
    <span className={classes.text}>
      <span className={classes.word} data-kind={kindOfStatus(statusOf(system))}>
        {text}
      </span>{' '}
      <span className={classes.since}>
        <Since at={statusSince(system)} />
      </span>
      {reason && reason !== 'unknown' && <span className={classes.reason}>{t(`history.reason.${reason}`)}</span>}
    </span>
  );
}
