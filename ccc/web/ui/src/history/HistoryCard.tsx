import { SegmentedControl, Skeleton, Table, Text } from '@mantine/core';
import { useState } from 'react';
import { problemText } from '../api/problemText';
import type { HistoryInterval, System } from '../api/types';
import { useText } from '../i18n';
import { serverNow } from '../time/clock';
import { dateTime, milliseconds } from '../time/format';
import { Band, RoundTrips } from './Band';
import { lengthOf } from './band';
import { durationText, percentText } from './duration';
import classes from './History.module.css';
import { type Range, ranges, useHistory } from './queries';
import { useIntervalText, wayText } from './text';

/** When a system was online, why it was not, and how far away its relay was. */
export function HistoryCard({ system }: { system: System }) {
  const { t, language } = useText();
  const [range, setRange] = useState<Range>('day');
  const { data, error } = useHistory(system, range);
  return (
    <>
      <div className={classes.head}>
        <Text size="sm" c="dimmed" className={classes.share}>
          {data?.availability !== undefined && (
            <>
              <b>{t('history.availability', { percent: percentText(data.availability, language) })}</b>
              {` · ${t('history.watchedFor', { duration: durationText(data.watched_seconds * 1000, language) })}`}
            </>
          )}
        </Text>
        <SegmentedControl
          size="xs"
          transitionDuration={0}
          aria-label={t('history.range')}
          value={range}
          onChange={(v) => setRange(v as Range)}
          data={(Object.keys(ranges) as Range[]).map((r) => ({ value: r, label: t(`history.${r}`) }))}
        />
      </div>
      {!data ? (
        error ? (
          <Text c="dimmed">{problemText(t, error)}</Text>
        ) : (
          <Skeleton height={64} aria-hidden="true" />
        )
      ) : data.items.length === 0 ? (
        <Text size="sm" c="dimmed">
          {t('history.nothing')}
        </Text>
      ) : (
        <>
          <Band history={data} range={range} />
          <RoundTrips history={data} />
          <Rows items={data.items} />
        </>
      )}
    </>
  );
}

/** The same as the band, for those who do not see it or want it exactly. */
function Rows({ items }: { items: readonly HistoryInterval[] }) {
  const { t, language } = useText();
  const text = useIntervalText();
  const [open, setOpen] = useState(false);
  return (
    <details className={classes.table} onToggle={(e) => setOpen(e.currentTarget.open)}>
      <summary>{t('history.table')}</summary>
      {open && (
        // biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls can be scrolled by keyboard
        <section className={classes.rows} tabIndex={0} aria-label={t('history.table')}>
          <Table fz="xs" verticalSpacing={4}>
            <Table.Thead>
              <Table.Tr>
                <Table.Th>{t('history.state.title')}</Table.Th>
                <Table.Th>{t('history.from')}</Table.Th>
                <Table.Th>{t('history.to')}</Table.Th>
                <Table.Th>{t('history.duration')}</Table.Th>
                <Table.Th>{t('history.way')}</Table.Th>
                <Table.Th>{t('history.rtt')}</Table.Th>
              </Table.Tr>
            </Table.Thead>
            <Table.Tbody>
              {items.map((item) => (
                <Table.Tr key={item.id}>
                  <Table.Td>{text(item)}</Table.Td>
                  <Table.Td>{dateTime(item.from, language)}</Table.Td>
                  <Table.Td>{item.to ? dateTime(item.to, language) : t('history.now')}</Table.Td>
                  <Table.Td>{durationText(lengthOf(item, serverNow()), language)}</Table.Td>
                  <Table.Td>{wayText(item)}</Table.Td>
                  <Table.Td>{item.rtt_ms && milliseconds(item.rtt_ms.mean, language)}</Table.Td>
                </Table.Tr>
              ))}
            </Table.Tbody>
          </Table>
        </section>
      )}
    </details>
  );
}
