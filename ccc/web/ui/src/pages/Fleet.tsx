import { ActionIcon, Button, Container, Kbd, TextInput, Title } from '@mantine/core';
import { IconPlus, IconSearch, IconX } from '@tabler/icons-react';
import { Link, useNavigate, useSearch } from '@tanstack/react-router';
import { useDeferredValue, useEffect, useMemo, useRef, useState } from 'react';
import { problemText } from '../api/problemText';
import { useRights } from '../app/meta';
import { useTitle } from '../app/useTitle';
import type { Filter, Sort, SortKey } from '../fleet/select';
import { kinds } from '../fleet/status';
import { useFleet } from '../fleet/store';
import { useKindCounts, useRows } from '../fleet/useRows';
import { useText } from '../i18n';
import { count } from '../time/format';
import classes from './Fleet.module.css';
import { FleetEmpty, FleetNoMatch } from './FleetEmpty';
import { FilterPills, FleetFilters } from './FleetFilters';
import { FleetTable, SortMenu } from './FleetTable';
import { type FleetSearch, nextSort, parseSort } from './fleetSearch';

const byName: Sort = { key: 'name', descending: false };

export function FleetPage() {
  const { t, language } = useText();
  const search = useSearch({ from: '/shell/' });
  const navigate = useNavigate({ from: '/' });
  const { complete, loaded, total, error } = useFleet();
  const { write } = useRights();
  useTitle(t('fleet.title'));

  const go = (change: Partial<Record<keyof FleetSearch, unknown>>) =>
    void navigate({
      search: (before) => ({ ...before, ...change }) as FleetSearch,
      replace: true,
      resetScroll: false,
    });
  const [text, setText] = useSearchText(search.q ?? '', (q) => go({ q: q || undefined }));
  // With what is in the search field, whose own way into the address is a little later.
  const set: typeof go = (change) => go({ q: text || undefined, ...change });
  const deferred = useDeferredValue(text);
  const filter = useMemo<Filter>(
    () => ({ text: deferred, kind: search.status, group: search.group, tags: search.tags ?? [] }),
    [deferred, search.status, search.group, search.tags],
  );
  const chosen = parseSort(search.sort);
  const sort = chosen ?? byName;
  const rows = useRows(filter, sort);
  const onSort = (key: SortKey) => set({ sort: nextSort(chosen, key) });
  const clear = () => {
    setText('');
    set({ q: undefined, status: undefined, group: undefined, tags: undefined });
  };

  const filtered = Boolean(text || search.status || search.group || search.tags?.length);
  if (complete && loaded === 0) return <FleetEmpty />;
  return (
    <Container size="xl" className={classes.page}>
      <div className={classes.head}>
        <Title order={1}>{t('fleet.title')}</Title>
        {write && (
          <Button leftSection={<IconPlus size={18} />} renderRoot={(props) => <Link {...props} to="/add" />}>
            {t('fleet.add')}
          </Button>
        )}
      </div>
      <Totals status={search.status} onChoose={(status) => set({ status })} />
      <div className={classes.tools}>
        <SearchField text={text} onChange={setText} />
        <FleetFilters search={search} onChange={set} />
        <SortMenu sort={sort} onSort={(value) => set({ sort: value })} />
        <p className={classes.found} role="status">
          {error && loaded === 0
            ? problemText(t, error)
            : complete
              ? filtered && rows.length > 0
                ? t('fleet.found', { count: rows.length, shown: count(rows.length, language) })
                : ''
              : loaded > 0
                ? t('fleet.loading', { loaded: count(loaded, language), total: count(total, language) })
                : t('fleet.loadingFirst')}
        </p>
      </div>
      <FilterPills search={search} onChange={set} />
      {complete && rows.length === 0 ? (
        <FleetNoMatch onClear={clear} />
      ) : (
        <FleetTable rows={rows} sort={sort} onSort={onSort} loading={!complete && loaded === 0} />
      )}
    </Container>
  );
}

/** The text of the search field; the address follows when somebody has stopped typing. */
function useSearchText(fromAddress: string, onSettled: (text: string) => void): [string, (text: string) => void] {
  const [text, setText] = useState(fromAddress);
  const settled = useRef(onSettled);
  settled.current = onSettled;
  useEffect(() => {
    if (text === fromAddress) return;
    const timer = setTimeout(() => settled.current(text), 300);
    return () => clearTimeout(timer);
  }, [text, fromAddress]);
  // Back and forward change the address under the field.
  const known = useRef(fromAddress);
  if (known.current !== fromAddress) {
    known.current = fromAddress;
    if (fromAddress !== text.slice(0, 100)) setText(fromAddress);
  }
  return [text, setText];
}

function SearchField({ text, onChange }: { text: string; onChange(text: string): void }) {
  const { t } = useText();
  const field = useRef<HTMLInputElement>(null);
  useEffect(() => {
    const slash = (e: KeyboardEvent) => {
      const typing =
        e.target instanceof HTMLElement &&
        e.target.closest('input, textarea, select, [contenteditable], [role="dialog"]');
      if (e.key !== '/' || e.ctrlKey || e.metaKey || e.altKey || typing) return;
      e.preventDefault();
      field.current?.focus();
    };
    document.addEventListener('keydown', slash);
    return () => document.removeEventListener('keydown', slash);
  }, []);
  return (
    <TextInput
      ref={field}
      className={classes.search}
      type="search"
      value={text}
      onChange={(e) => onChange(e.currentTarget.value)}
      onKeyDown={(e) => {
        if (e.key === 'Escape' && text) {
          e.preventDefault();
          onChange('');
        }
      }}
      placeholder={t('fleet.search')}
      aria-label={t('fleet.search')}
      aria-keyshortcuts="/"
      leftSection={<IconSearch size={17} />}
      rightSectionPointerEvents="all"
      rightSection={
        text ? (
          <ActionIcon
            variant="subtle"
            color="gray"
            size="sm"
            onClick={() => onChange('')}
            aria-label={t('fleet.clearSearch')}
          >
            <IconX size={16} />
          </ActionIcon>
        ) : (
          <Kbd className={classes.key} aria-hidden="true">
            /
          </Kbd>
        )
      }
    />
  );
}

function Totals({
  status,
  onChoose,
}: {
  status: FleetSearch['status'];
  onChoose(status: FleetSearch['status']): void;
}) {
  const { t, language } = useText();
  const counts = useKindCounts();
  const { complete, loaded, total } = useFleet();
  const all = [
    { kind: undefined, label: t('kind.all'), n: complete ? loaded : total },
    ...kinds.map((kind) => ({ kind, label: t(`kind.${kind}`), n: counts[kind] })),
  ];
  return (
    <div className={classes.totals} role="group" aria-label={t('fleet.byStatus')}>
      {all.map(({ kind, label, n }) => (
        <button
          key={label}
          type="button"
          className={classes.total}
          aria-pressed={status === kind}
          data-kind={n > 0 ? kind : undefined}
          onClick={() => onChoose(status === kind ? undefined : kind)}
        >
          <span className={classes.number}>{complete || (!kind && total > 0) ? count(n, language) : '–'}</span>
          <span className={classes.label}>{label}</span>
        </button>
      ))}
    </div>
  );
}
