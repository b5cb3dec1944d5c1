import { Anchor, Skeleton, Table, Text } from '@mantine/core';
import { Link } from '@tanstack/react-router';
import { problemText } from '../api/problemText';
import { useText } from '../i18n';
import { count } from '../time/format';
import classes from './History.module.css';
import { useReasonCounts } from './queries';
import type { Reason } from './reason';

/** Why systems are offline, now and in the last day, the most frequent first. */
export function ReasonCounts() {
  const { t, language } = useText();
  const { data, error } = useReasonCounts();
  if (!data) {
    return error ? <Text c="dimmed">{problemText(t, error)}</Text> : <Skeleton height={80} aria-hidden="true" />;
  }
  const now = new Map(data.now.map((r) => [r.reason as Reason, r.systems]));
  const day = new Map(data.day.map((r) => [r.reason as Reason, r.times]));
  const all = [...new Set([...now.keys(), ...day.keys()])].sort(
    (a, b) => (now.get(b) ?? 0) - (now.get(a) ?? 0) || (day.get(b) ?? 0) - (day.get(a) ?? 0),
  );
  if (all.length === 0) {
    return (
      <Text size="sm" c="dimmed">
        {t('history.why.none')}
      </Text>
    );
  }
  return (
    <Table className={classes.counts}>
      <Table.Thead>
        <Table.Tr>
          <Table.Th>{t('history.why.reason')}</Table.Th>
          <Table.Th>{t('history.why.now')}</Table.Th>
          <Table.Th>{t('history.why.day')}</Table.Th>
        </Table.Tr>
      </Table.Thead>
      <Table.Tbody>
        {all.map((reason) => (
          <Table.Tr key={reason}>
            <Table.Td>
              {now.has(reason) ? (
                <Anchor renderRoot={(props) => <Link {...props} to="/" search={{ reason }} />}>
                  {t(`history.reason.${reason}`)}
                </Anchor>
              ) : (
                t(`history.reason.${reason}`)
              )}
            </Table.Td>
            <Table.Td>{count(now.get(reason) ?? 0, language)}</Table.Td>
            <Table.Td>{count(day.get(reason) ?? 0, language)}</Table.Td>
          </Table.Tr>
        ))}
      </Table.Tbody>
    </Table>
  );
}
