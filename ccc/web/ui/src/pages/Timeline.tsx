import { Button, Skeleton, Stack, Text } from '@mantine/core';
import { useInfiniteQuery, useQueryClient } from '@tanstack/react-query';
import { Link } from '@tanstack/react-router';
import { useEffect } from 'react';
import { api, call } from '../api/client';
import { problemText } from '../api/problemText';
import type { System, SystemEvent } from '../api/types';
import { fleet } from '../fleet/store';
import { useText } from '../i18n';
import { dateTime } from '../time/format';
import classes from './Timeline.module.css';
import { dissolveReason, knownKind, toneOf } from './timelineKinds';

/** What happened to a system, the newest first. */
export function Timeline({ system }: { system: System }) {
  const { t } = useText();
  const queryClient = useQueryClient();
  const { id } = system;
  const { data, error, isPending, hasNextPage, fetchNextPage, isFetchingNextPage } = useInfiniteQuery({
    queryKey: ['events', id],
    queryFn: ({ pageParam, signal }) =>
      call(
        api.GET('/systems/{id}/events', {
          params: { path: { id }, query: { limit: 20, ...(pageParam && { cursor: pageParam }) } },
          signal,
        }),
      ),
    initialPageParam: '',
    getNextPageParam: (page) => page.next,
  });
  useEffect(
    () =>
      fleet.onEvent((message) => {
        const about =
          (message.event === 'system' && message.data.id === id) ||
          (message.event === 'offer' && message.data.system_id === id);
        if (about) void queryClient.invalidateQueries({ queryKey: ['events', id] });
      }),
    [id, queryClient],
  );
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
  const reason = dissolveReason(event.detail.reason);
  const other = event.detail.by ?? event.detail.of;
  return (
    <li className={classes.entry} data-tone={toneOf(event.kind)}>
      <div>
        {/* A server that is newer than the page may tell of kinds that the page does not know. */}
        {kind ? t(`event.${kind}`) : event.kind}
        {event.kind === 'dissolved' && reason && <span className={classes.detail}> {t(`dissolved.${reason}`)}</span>}
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
