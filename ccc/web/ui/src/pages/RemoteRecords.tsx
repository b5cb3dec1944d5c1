import { Anchor, Button, Container, Pill, Select, Table, Text, TextInput, Title } from '@mantine/core';
import { IconDownload } from '@tabler/icons-react';
import { useMutation } from '@tanstack/react-query';
import { Link, useNavigate, useSearch } from '@tanstack/react-router';
import { useState } from 'react';
import { problemText } from '../api/problemText';
import type { RemoteSession } from '../api/types';
import { useTitle } from '../app/useTitle';
import { useComplain } from '../components/notify';
import { useSystem } from '../fleet/store';
import { useText } from '../i18n';
import { durationText } from '../remote/AskModal';
import { bytes } from '../remote/bytes';
import { csvOf } from '../remote/csv';
import classes from '../remote/Remote.module.css';
import { causeText, RemoteState, serviceText, TimeLeft } from '../remote/RemoteState';
import { isOpen, type RecordFilter, records, useRecords } from '../remote/remote';
import { filterOf, parseRecordsSearch, type RecordsSearch, states } from '../remote/search';
import { groupedSerial, isSerial, normalSerial } from '../serial';
import { dateTime } from '../time/format';

/** Who had, has or wants remote access to any of the systems; for those who look after it. */
export function RemoteRecordsPage() {
  const { t } = useText();
  const search = useSearch({ from: '/shell/remote' });
  const navigate = useNavigate({ from: '/remote' });
  const set = (change: RecordsSearch) =>
    void navigate({ search: parseRecordsSearch({ ...search, ...change }), replace: true });
  const [serial, setSerial] = useState(search.serial ?? '');
  const { data, error, isPending, hasNextPage, fetchNextPage, isFetchingNextPage } = useRecords(filterOf(search));
  useTitle(t('remote.title'));
  const items = data?.pages.flatMap((page) => page.items) ?? [];
  return (
    <Container size="xl" className={classes.page}>
      <Title order={1}>{t('remote.title')}</Title>
      <p className={classes.lead}>{t('remote.list.lead')}</p>
      <div className={classes.filters}>
        <Select
          label={t('remote.column.state')}
          allowDeselect={false}
          value={search.state ?? ''}
          data={[
            { value: '', label: t('kind.all') },
            { value: 'open', label: t('remote.list.open') },
            { value: 'over', label: t('remote.list.over') },
          ]}
          onChange={(v) => navigate({ search: { ...search, state: states.find((s) => s === v) }, replace: true })}
        />
        <TextInput
          label={t('system.serial')}
          inputMode="numeric"
          placeholder="0000000000"
          value={serial}
          onChange={(e) => {
            const value = e.currentTarget.value;
            setSerial(value);
            const normal = normalSerial(value);
            if (isSerial(normal)) set({ serial: normal });
            else if (search.serial) void navigate({ search: { ...search, serial: undefined }, replace: true });
          }}
        />
        {search.system && (
          <SystemPill
            id={search.system}
            onRemove={() => void navigate({ search: { ...search, system: undefined }, replace: true })}
          />
        )}
        <Export filter={filterOf(search)} disabled={items.length === 0} />
      </div>
      {error && !data && <Text c="dimmed">{problemText(t, error)}</Text>}
      {!isPending && data && items.length === 0 && <Text c="dimmed">{t('remote.list.none')}</Text>}
      {items.length > 0 && (
        // biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls can be scrolled by keyboard
        <section className={classes.table} aria-label={t('remote.title')} tabIndex={0}>
          <Table verticalSpacing="sm" horizontalSpacing="md">
            <Table.Thead>
              <Table.Tr>
                <Table.Th>{t('remote.column.when')}</Table.Th>
                <Table.Th>{t('column.name')}</Table.Th>
                <Table.Th>{t('remote.column.who')}</Table.Th>
                <Table.Th>{t('remote.column.service')}</Table.Th>
                <Table.Th>{t('remote.column.state')}</Table.Th>
                <Table.Th>{t('remote.column.time')}</Table.Th>
                <Table.Th className={classes.number}>{t('remote.column.in')}</Table.Th>
                <Table.Th className={classes.number}>{t('remote.column.out')}</Table.Th>
              </Table.Tr>
            </Table.Thead>
            <Table.Tbody>
              {items.map((s) => (
                <Row key={s.id} session={s} />
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
    </Container>
  );
}

function Row({ session: s }: { session: RemoteSession }) {
  const { t, language } = useText();
  const system = useSystem(s.system_id);
  return (
    <Table.Tr>
      <Table.Td>
        <time dateTime={s.requested_at}>{dateTime(s.requested_at, language)}</time>
      </Table.Td>
      <Table.Td>
        {system ? (
          <Anchor size="sm" renderRoot={(props) => <Link {...props} to="/systems/$id" params={{ id: s.system_id }} />}>
            {system.name}
          </Anchor>
        ) : (
          t('remote.list.removed')
        )}
        <small className="mono">{groupedSerial(s.serial)}</small>
      </Table.Td>
      <Table.Td>
        {s.user.name}
        <small>{s.reason}</small>
      </Table.Td>
      <Table.Td>{serviceText(t, s)}</Table.Td>
      <Table.Td>
        <RemoteState session={s} />
        <small>{isOpen(s) ? <TimeLeft session={s} /> : causeText(t, s)}</small>
      </Table.Td>
      <Table.Td>
        {s.started_at ? (
          <>
            <time dateTime={s.started_at}>{dateTime(s.started_at, language)}</time>
            {s.ended_at && (
              <small>
                – <time dateTime={s.ended_at}>{dateTime(s.ended_at, language)}</time>
              </small>
            )}
          </>
        ) : (
          '–'
        )}
        <small>{t('remote.list.asked', { duration: durationText(t, s.minutes) })}</small>
      </Table.Td>
      <Table.Td className={classes.number}>{bytes(s.bytes_in, language)}</Table.Td>
      <Table.Td className={classes.number}>{bytes(s.bytes_out, language)}</Table.Td>
    </Table.Tr>
  );
}

function SystemPill({ id, onRemove }: { id: string; onRemove(): void }) {
  const { t } = useText();
  const name = useSystem(id)?.name ?? t('remote.list.removed');
  return (
    <Pill
      size="lg"
      withRemoveButton
      onRemove={onRemove}
      removeButtonProps={{ 'aria-label': t('filter.remove', { name }) }}
    >
      {name}
    </Pill>
  );
}

/** How many records a file has at most: far more than anybody looks at. */
const most = 20_000;

/** All that fit the filter, also those that are not on the page yet, as a file. */
function Export({ filter, disabled }: { filter: RecordFilter; disabled: boolean }) {
  const { t } = useText();
  const complain = useComplain();
  const save = useMutation({
    mutationFn: async () => {
      const all: RemoteSession[] = [];
      let cursor = '';
      do {
        const page = await records(filter, cursor, 200);
        all.push(...page.items);
        cursor = page.next ?? '';
      } while (cursor && all.length < most);
      const url = URL.createObjectURL(new Blob([csvOf(all)], { type: 'text/csv;charset=utf-8' }));
      const link = document.createElement('a');
      link.href = url;
      link.download = `remote-access-${new Date().toISOString().slice(0, 10)}.csv`;
      link.click();
      URL.revokeObjectURL(url);
    },
    onError: complain,
  });
  return (
    <Button
      variant="default"
      leftSection={<IconDownload size={16} />}
      disabled={disabled}
      loading={save.isPending}
      onClick={() => save.mutate()}
    >
      {t('remote.list.export')}
    </Button>
  );
}
