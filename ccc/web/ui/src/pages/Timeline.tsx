import { Button, Skeleton, Stack, Text } from '@mantine/core';
import { Link } from '@tanstack/react-router';
import type { TFunction } from 'i18next';
import { problemText } from '../api/problemText';
import type { System, SystemEvent } from '../api/types';
import { fleet } from '../fleet/store';
import { useText } from '../i18n';
import { useHistory } from '../setup/history';
import { reasonOf } from '../setup/reason';
import { dateTime } from '../time/format';
import classes from './Timeline.module.css';
import { dissolveReason, knownKind, toneOf, voidReason } from './timelineKinds';

/** What happened to a system, the newest first. */
export function Timeline({ system }: { system: System }) {
  const { t } = useText();
  const { data, error, isPending, hasNextPage, fetchNextPage, isFetchingNextPage } = useHistory(system.id);
  if (isPending) {
    return (
      <Stack gap="md" aria-hidden="true">
        {[70, 55, 62, 48].map((width) => (
          <Skeleton key={width} height={14} width={`${width}%`} />
        ))}
      </Stack>
    );
  }
  if (error && !data) return <Text c="dimmed">{problemText(t, error)}</Text>;
  const events = data?.pages.flatMap((page) => page.items) ?? [];
  if (events.length === 0) return <Text c="dimmed">{t('timeline.none')}</Text>;
  return (
    <>
      <ol className={classes.list}>
        {events.map((event) => (
          <Entry key={event.id} event={event} />
        ))}
      </ol>
      {hasNextPage && (
        <Button
          variant="subtle"
          size="compact-sm"
          mt="sm"
          loading={isFetchingNextPage}
          onClick={() => void fetchNextPage()}
        >
          {t('timeline.more')}
        </Button>
      )}
    </>
  );
}

function Entry({ event }: { event: SystemEvent }) {
  const { t, language } = useText();
  const kind = knownKind(event.kind);
  const who = event.actor ? event.actor.name || t('timeline.formerUser') : undefined;
  const why = whyText(t, event);
  const other = event.detail.by ?? event.detail.of;
  return (
    <li className={classes.entry} data-tone={toneOf(event.kind)}>
      <div>
        {/* A server that is newer than the page may tell of kinds that the page does not know. */}
        {kind ? t(`event.${kind}`) : event.kind}
        {why && <span className={classes.detail}> {why}</span>}
        {event.kind === 'replaced' && other && fleet.get(other) && (
          <>
            {' '}
            <Link to="/systems/$id" params={{ id: other }} className={classes.other}>
              {fleet.get(other)?.name}
            </Link>
          </>
        )}
      </div>
      <div className={classes.when}>
        <time dateTime={event.at}>{dateTime(event.at, language)}</time>
        {who && ` · ${who}`}
      </div>
    </li>
  );
}

/** What the server says about an event, in words; nothing where it says nothing. */
function whyText(t: TFunction, { kind, detail }: SystemEvent): string {
  if (kind === 'dissolved') {
    const reason = dissolveReason(detail.reason);
    return reason ? t(`dissolved.${reason}`) : '';
  }
  if (kind === 'void') {
    const reason = voidReason(detail.error);
    return reason ? t(`voided.${reason}`) : '';
  }
  if (kind === 'settings_changed') return detail.settings ?? '';
  if (kind === 'rollout_done' || kind === 'rollout_rolled_back') return detail.rollout ?? '';
  if (kind !== 'declined' && kind !== 'expired') return '';
  const given = reasonOf(detail.reason);
  if (!given) return '';
  return given.reason === 'other' ? `(${given.word})` : t(`givenBack.${given.reason}.event`);
}
