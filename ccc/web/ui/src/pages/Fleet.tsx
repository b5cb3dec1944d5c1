import { ActionIcon, Button, Container, Kbd, TextInput, Title } from '@mantine/core';
import { IconPlus, IconSearch, IconX } from '@tabler/icons-react';
import { useQuery } from '@tanstack/react-query';
import { Link, useNavigate, useSearch } from '@tanstack/react-router';
import { useDeferredValue, useEffect, useMemo, useRef, useState } from 'react';
import { filtersQuery } from '../api/filters';
import { problemText } from '../api/problemText';
import { useRights } from '../app/meta';
import { useTitle } from '../app/useTitle';
import type { Filter, Sort, SortKey } from '../fleet/select';
import { kinds } from '../fleet/status';
import { useFleet } from '../fleet/store';
import { useKindCounts, useRows } from '../fleet/useRows';
import { useText } from '../i18n';
import { sitesQuery } from '../organisation/queries';
import { count } from '../time/format';
import classes from './Fleet.module.css';
import { FleetEmpty, FleetNoMatch } from './FleetEmpty';
import { FilterPills, FleetFilters } from './FleetFilters';
import { FleetSaved } from './FleetSaved';
import { FleetTable, SortMenu } from './FleetTable';
import { type FleetSearch, nextSort, parseFleetSearch, parseSort } from './fleetSearch';
import { searchOf } from './savedSearch';

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
  const { data: sites } = useQuery(sitesQuery);
  const siteNames = useMemo(() => new Map(sites?.map((s) => [s.id, s.name])), [sites]);
  const filter = useMemo<Filter>(
    () => ({
      text: deferred,
      kind: search.status,
      reason: search.reason,
      group: search.group,
      site: search.site,
      sites: siteNames,
      tags: search.tags ?? [],
    }),
    [deferred, search.status, search.reason, search.group, search.site, siteNames, search.tags],
  );
  const chosen = parseSort(search.sort);
  const sort = chosen ?? byName;
  const rows = useRows(filter, sort);
  const onSort = (key: SortKey) => set({ sort: nextSort(chosen, key) });
  const clear = () => {
    setText('');
    set({ q: undefined, status: undefined, reason: undefined, group: undefined, site: undefined, tags: undefined });
  };

  const pick = (chosen: FleetSearch) => {
    setText(chosen.q ?? '');
    const none = {
      q: undefined,
      status: undefined,
      reason: undefined,
      group: undefined,
      site: undefined,
      tags: undefined,
      sort: undefined,
    };
    go({ ...none, ...chosen });
  };
  useDefaultFilter(search, pick);

  const filtered = Boolean(
    text || search.status || search.reason || search.group || search.site || search.tags?.length,
  );
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
        <FleetSaved search={{ ...search, ...(text && { q: text }) }} onPick={pick} />
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

/** Begins with the filter that somebody has chosen for it, where the address says nothing. */
function useDefaultFilter(search: FleetSearch, pick: (search: FleetSearch) => void): void {
  const { data: filters } = useQuery(filtersQuery);
  const begun = useRef(Object.keys(parseFleetSearch({ ...search })).length > 0);
  useEffect(() => {
    if (begun.current || !filters) return;
    begun.current = true;
    const first = filters.find((f) => f.default);
    if (first) pick(searchOf(first.filter));
  }, [filters, pick]);
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
