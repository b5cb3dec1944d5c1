import {
  Alert,
  Button,
  Container,
  Paper,
  Progress,
  SegmentedControl,
  Skeleton,
  Table,
  Text,
  Title,
} from '@mantine/core';
import { IconAlertTriangle } from '@tabler/icons-react';
import { keepPreviousData, useQuery } from '@tanstack/react-query';
import { useState } from 'react';
import { api, call } from '../api/client';
import { problemText } from '../api/problemText';
import type { ServerStatistics } from '../api/types';
import { useTitle } from '../app/useTitle';
import { useText } from '../i18n';
import { type Colour, type Curve, Plot, timeFormat } from '../statistics/Plot';
import { byClass, byServer, type Class, daysOld, shareOfOther, timesOf, visitorsOf } from '../statistics/series';
import { serverNow } from '../time/clock';
import { count, localeOf } from '../time/format';
import { Notice } from './Failure';
import classes from './Statistics.module.css';

const ranges = {
  day: { by: 'hour', days: 1 },
  week: { by: 'hour', days: 7 },
  month: { by: 'day', days: 30 },
  year: { by: 'day', days: 366 },
} as const;
type Range = keyof typeof ranges;

const ofClass: Record<Class, Colour> = { ok: 'ok', refused: 'idle', limited: 'warn', failed: 'bad' };
const ofServers: Colour[] = ['plot-1', 'plot-2', 'plot-3', 'plot-4', 'plot-5', 'plot-6'];

/** How many accesses the servers had, as plots; for who runs the control centre. */
export function StatisticsPage() {
  const { t } = useText();
  const [range, setRange] = useState<Range>('week');
  const { data, error, refetch } = useQuery({
    queryKey: ['statistics', range],
    queryFn: ({ signal }) => call(api.GET('/statistics/access', { params: { query: ranges[range] }, signal })),
    placeholderData: keepPreviousData,
    staleTime: 60_000,
  });
  useTitle(t('statistics.title'));
  if (error && !data) {
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
  return (
    <Container size="xl" className={classes.page}>
      <div className={classes.head}>
        <div>
          <Title order={1}>{t('statistics.title')}</Title>
          <p>{t('statistics.lead')}</p>
        </div>
        <SegmentedControl
          aria-label={t('statistics.range')}
          value={range}
          onChange={(v) => setRange(v as Range)}
          data={(Object.keys(ranges) as Range[]).map((r) => ({ value: r, label: t(`statistics.${r}`) }))}
        />
      </div>
      {data ? (
        <>
          <Overview servers={data.servers} by={data.by} />
          {data.servers.map((s) => (
            <Server key={s.name} server={s} by={data.by} />
          ))}
        </>
      ) : (
        <Skeleton height={320} radius="lg" />
      )}
    </Container>
  );
}

function Overview({ servers, by }: { servers: ServerStatistics[]; by: 'hour' | 'day' }) {
  const { t } = useText();
  const kept = servers.filter((s) => s.kept);
  const times = timesOf(kept, by);
  if (kept.length < 2) return null;
  const curves = byServer(kept, times).map(
    (s, i): Curve => ({ ...s, label: s.name, colour: ofServers[i % ofServers.length] ?? 'idle' }),
  );
  return (
    <Paper withBorder radius="lg" component="section" className={classes.card} aria-label={t('statistics.overview')}>
      <Plot title={t('statistics.overview')} times={times} curves={curves} by={by} />
      <Rows times={times} curves={curves} by={by} />
    </Paper>
  );
}

function Server({ server, by }: { server: ServerStatistics; by: 'hour' | 'day' }) {
  const { t } = useText();
  return (
    <Paper withBorder radius="lg" component="section" className={classes.card} aria-label={server.name}>
      <Title order={2} mb="xs">
        {server.name}
      </Title>
      {server.failure ? (
        <Alert color="red" icon={<IconAlertTriangle size={18} />}>
          {t(`statistics.failure.${server.failure}`)}
        </Alert>
      ) : server.kept ? (
        <Counted server={server} by={by} />
      ) : (
        <Text c="dimmed">{t('statistics.notKept')}</Text>
      )}
    </Paper>
  );
}

function Counted({ server, by }: { server: ServerStatistics; by: 'hour' | 'day' }) {
  const { t, language } = useText();
  const times = timesOf([server], by);
  const curves = byClass(server, times).map(
    (s): Curve => ({ ...s, label: t(`statistics.class.${s.name}`), colour: ofClass[s.name] }),
  );
  const share = shareOfOther(server);
  const visitors = visitorsOf(server);
  const percent = new Intl.NumberFormat(localeOf(language), { style: 'percent' });
  return (
    <>
      {server.alarm && (
        <Alert color="red" icon={<IconAlertTriangle size={18} />} mb="md">
          {t('statistics.alarm')}
        </Alert>
      )}
      <div className={classes.facts}>
        <Oldest server={server} />
        {share !== undefined && <span>{t('statistics.other', { share: percent.format(share) })}</span>}
      </div>
      {server.totals.length === 0 ? (
        <Text c="dimmed">{t('statistics.none')}</Text>
      ) : (
        <>
          <div className={classes.plots}>
            <Plot title={t('statistics.byResult')} times={times} curves={curves} by={by} />
            <div>
              <Plot
                title={t('statistics.visitors')}
                times={visitors.times}
                curves={[
                  { name: 'visitors', label: t('statistics.visitors'), colour: 'plot-1', values: visitors.values },
                ]}
                by="day"
              />
              <p className={classes.hint}>
                {t('statistics.visitorsHint')} {t('statistics.utc')}
              </p>
            </div>
          </div>
          <Rows times={times} curves={curves} by={by} />
        </>
      )}
    </>
  );
}

/** How old the oldest address is, against the time after which it has to be gone. */
function Oldest({ server }: { server: ServerStatistics }) {
  const { t, language } = useText();
  if (!server.oldest) return <span>{t('statistics.oldestNone')}</span>;
  const most = server.raw_for / 86_400;
  const age = daysOld(server.oldest, serverNow());
  const text = t('statistics.oldest', { age: count(age, language), most: count(most, language) });
  const used = Math.min(100, ((serverNow() - Date.parse(server.oldest)) / 1000 / server.raw_for) * 100);
  return (
    <div className={classes.age}>
      {text}
      <Progress value={used} color={server.alarm ? 'red' : 'brand'} size="sm" mt={6} aria-label={text} />
    </div>
  );
}

/** The same numbers for those who do not see the plot. */
function Rows({ times, curves, by }: { times: number[]; curves: Curve[]; by: 'hour' | 'day' }) {
  const { t, language } = useText();
  const [open, setOpen] = useState(false);
  const format = timeFormat(language, by);
  return (
    <details className={classes.table} onToggle={(e) => setOpen(e.currentTarget.open)}>
      <summary>{t('statistics.table')}</summary>
      {open && (
        // biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls can be scrolled by keyboard
        <section className={classes.rows} tabIndex={0} aria-label={t('statistics.table')}>
          <Table>
            <Table.Thead>
              <Table.Tr>
                <Table.Th>{t('statistics.time')}</Table.Th>
                {curves.map((c) => (
                  <Table.Th key={c.name}>{c.label}</Table.Th>
                ))}
                <Table.Th>{t('statistics.sum')}</Table.Th>
              </Table.Tr>
            </Table.Thead>
            <Table.Tbody>
              {times
                .map((time, i) => (
                  <Table.Tr key={time}>
                    <Table.Td>{format(time)}</Table.Td>
                    {curves.map((c) => (
                      <Table.Td key={c.name}>{count(c.values[i] ?? 0, language)}</Table.Td>
                    ))}
                    <Table.Td>
                      {count(
                        curves.reduce((n, c) => n + (c.values[i] ?? 0), 0),
                        language,
                      )}
                    </Table.Td>
                  </Table.Tr>
                ))
                .reverse()}
            </Table.Tbody>
          </Table>
        </section>
      )}
    </details>
  );
}
