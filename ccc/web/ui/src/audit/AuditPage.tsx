import { Button, Container, Table, Text, Title, UnstyledButton, VisuallyHidden } from '@mantine/core';
import { useNavigate, useSearch } from '@tanstack/react-router';
import { useState } from 'react';
import { problemText } from '../api/problemText';
import type { AuditEntry } from '../api/types';
import { useTitle } from '../app/useTitle';
import { useText } from '../i18n';
import { groupedSerial } from '../serial';
import { count, dateTime } from '../time/format';
import classes from './Audit.module.css';
import { AuditFilters } from './AuditFilters';
import { useAudit } from './audit';
import { EntryModal } from './EntryModal';
import { Exports } from './Exports';
import { type AuditSearch, parseAuditSearch } from './search';
import { actorText, operationText, resourceText } from './texts';

/** Who did what in the tenant. */
export function AuditPage() {
  const { t } = useText();
  const search = useSearch({ from: '/shell/audit' });
  const navigate = useNavigate({ from: '/audit' });
  const set = (change: AuditSearch) => {
    const { tenant } = search;
    const next = parseAuditSearch({ ...search, ...change });
    void navigate({ search: { ...(tenant && { tenant }), ...next }, replace: true });
  };
  const [open, setOpen] = useState<AuditEntry | null>(null);
  const { data, error, isPending, hasNextPage, fetchNextPage, isFetchingNextPage } = useAudit(
    parseAuditSearch({ ...search }),
  );
  useTitle(t('audit.title'));
  const items = data?.pages.flatMap((page) => page.items) ?? [];
  return (
    <Container size="xl" className={classes.page}>
      <div className={classes.head}>
        <Title order={1}>{t('audit.title')}</Title>
        <Exports />
      </div>
      <p className={classes.lead}>{t('audit.lead')}</p>
      <AuditFilters search={search} onChange={set} />
      {error && !data && <Text c="dimmed">{problemText(t, error)}</Text>}
      {!isPending && data && items.length === 0 && <Text c="dimmed">{t('audit.none')}</Text>}
      {items.length > 0 && (
        // biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls can be scrolled by keyboard
        <section className={classes.table} aria-label={t('audit.title')} tabIndex={0}>
          <Table verticalSpacing="xs" horizontalSpacing="md">
            <Table.Thead>
              <Table.Tr>
                <Table.Th>{t('audit.column.when')}</Table.Th>
                <Table.Th>{t('audit.column.who')}</Table.Th>
                <Table.Th>{t('audit.column.what')}</Table.Th>
                <Table.Th>{t('audit.column.about')}</Table.Th>
                <Table.Th>{t('audit.column.outcome')}</Table.Th>
              </Table.Tr>
            </Table.Thead>
            <Table.Tbody>
              {items.map((e) => (
                <Row key={e.seq} entry={e} onOpen={() => setOpen(e)} />
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
          {t('audit.more')}
        </Button>
      )}
      <EntryModal entry={open} onClose={() => setOpen(null)} />
    </Container>
  );
}

function Row({ entry: e, onOpen }: { entry: AuditEntry; onOpen(): void }) {
  const { t, language } = useText();
  return (
    <Table.Tr>
      <Table.Td className={classes.when}>
        <UnstyledButton className={classes.open} onClick={onOpen}>
          <time dateTime={e.at}>{dateTime(e.at, language)}</time>
          <VisuallyHidden> {t('audit.detail.open', { seq: e.seq })}</VisuallyHidden>
        </UnstyledButton>
      </Table.Td>
      <Table.Td>
        {actorText(t, e)}
        {e.right && e.right !== 'home' && <small>{t(`audit.right.${e.right}`)}</small>}
      </Table.Td>
      <Table.Td>{operationText(t, e.operation)}</Table.Td>
      <Table.Td>
        {resourceText(t, e)}
        {e.serial && <small className="mono">{groupedSerial(e.serial)}</small>}
      </Table.Td>
      <Table.Td>
        <span className={classes.outcome} data-outcome={e.outcome}>
          {t(`audit.outcome.${e.outcome}`)}
        </span>
        {e.repeats && <small>{t('audit.repeats', { times: count(e.repeats, language) })}</small>}
      </Table.Td>
    </Table.Tr>
  );
}
