import { Anchor, Button, Container, Skeleton, Table, Text, Title } from '@mantine/core';
import { IconPlus } from '@tabler/icons-react';
import { useInfiniteQuery } from '@tanstack/react-query';
import { Link } from '@tanstack/react-router';
import { problemText } from '../api/problemText';
import { useMay } from '../app/meta';
import { useTitle } from '../app/useTitle';
import { useText } from '../i18n';
import { dateTime } from '../time/format';
import { rolloutsQuery, useRolloutsLive } from './queries';
import classes from './Rollout.module.css';
import { RolloutState } from './State';
import { Templates } from './Templates';
import { countOf } from './values';

/** All rollouts, and the templates that they are made of. */
export function RolloutsPage() {
  const { t, language } = useText();
  useTitle(t('rollout.title'));
  useRolloutsLive();
  const may = useMay();
  const { data, error, isPending, hasNextPage, fetchNextPage, isFetchingNextPage } = useInfiniteQuery(rolloutsQuery);
  const items = data?.pages.flatMap((page) => page.items) ?? [];
  return (
    <Container size="xl" className={classes.page}>
      <div className={classes.head}>
        <div>
          <Title order={1}>{t('rollout.title')}</Title>
          <p className={classes.lead}>{t('rollout.lead')}</p>
        </div>
        {may.some('config.write') && (
          <Button leftSection={<IconPlus size={16} />} renderRoot={(props) => <Link {...props} to="/rollouts/new" />}>
            {t('rollout.make.button')}
          </Button>
        )}
      </div>
      {error && !data && <Text c="dimmed">{problemText(t, error)}</Text>}
      {isPending && <Skeleton height={160} radius="lg" />}
      {data && items.length === 0 && <Text c="dimmed">{t('rollout.none')}</Text>}
      {items.length > 0 && (
        // biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls can be scrolled by keyboard
        <section className={classes.table} aria-label={t('rollout.title')} tabIndex={0}>
          <Table verticalSpacing="sm">
            <Table.Thead>
              <Table.Tr>
                <Table.Th>{t('rollout.name')}</Table.Th>
                <Table.Th>{t('rollout.kindLabel')}</Table.Th>
                <Table.Th>{t('rollout.stateLabel')}</Table.Th>
                <Table.Th>{t('rollout.progress')}</Table.Th>
                <Table.Th>{t('rollout.created')}</Table.Th>
              </Table.Tr>
            </Table.Thead>
            <Table.Tbody>
              {items.map((r) => (
                <Table.Tr key={r.id}>
                  <Table.Td>
                    <Anchor renderRoot={(props) => <Link {...props} to="/rollouts/$id" params={{ id: r.id }} />}>
                      {r.name}
                    </Anchor>
                  </Table.Td>
                  <Table.Td>{t(`rollout.kind.${r.kind}`)}</Table.Td>
                  <Table.Td>
                    <RolloutState rollout={r} />
                  </Table.Td>
                  <Table.Td>
                    {t('rollout.ringDone', { done: countOf(r.rings, 'done', 'unchanged'), count: r.systems })}
                  </Table.Td>
                  <Table.Td>
                    <time dateTime={r.created_at}>{dateTime(r.created_at, language)}</time>
                    <small>{r.by.name}</small>
                  </Table.Td>
                </Table.Tr>
              ))}
            </Table.Tbody>
          </Table>
        </section>
      )}
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
      <Templates write={may.whole('config.write')} />
    </Container>
  );
}
