import { Button, Menu } from '@mantine/core';
import { useMediaQuery } from '@mantine/hooks';
import { IconArrowDown, IconArrowsSort, IconArrowUp } from '@tabler/icons-react';
import { useRouter } from '@tanstack/react-router';
import { useWindowVirtualizer } from '@tanstack/react-virtual';
import { type KeyboardEvent, type MouseEvent, memo, type RefObject, useLayoutEffect, useRef, useState } from 'react';
import { inTenant, workingIn } from '../api/tenant';
import { Labels } from '../components/Labels';
import { StatusDot, StatusText } from '../components/StatusText';
import { Transport } from '../components/Transport';
import type { Sort, SortKey } from '../fleet/select';
import { useSystem } from '../fleet/store';
import { useText } from '../i18n';
import { groupedSerial } from '../serial';
import classes from './FleetTable.module.css';

const rowHeight = { table: 56, card: 92 };

/** Which order each column's heading gives; the last columns have none. */
const columns = ['name', 'serial', 'status', 'connection', 'labels'] as const;
const sortOf: Record<(typeof columns)[number], SortKey | undefined> = {
  name: 'name',
  serial: 'serial',
  status: 'status',
  connection: undefined,
  labels: undefined,
};

interface Props {
  rows: readonly string[];
  sort: Sort;
  onSort(key: SortKey): void;
  loading: boolean;
}

/** The systems; only what is in sight is in the page. */
export function FleetTable({ rows, sort, onSort, loading }: Props) {
  const { t } = useText();
  const cards = useMediaQuery('(max-width: 48em)', undefined, { getInitialValueInEffect: false });
  const size = cards ? rowHeight.card : rowHeight.table;
  return (
    <div
      className={classes.table}
      role="table"
      aria-label={t('fleet.title')}
      aria-rowcount={rows.length + 1}
      aria-busy={loading}
    >
      <div className={classes.heads} role="rowgroup">
        <div className={classes.cells} role="row" aria-rowindex={1}>
          {columns.map((column) => (
            <Heading key={column} column={column} sort={sort} onSort={onSort} />
          ))}
        </div>
      </div>
      {loading ? (
        <div className={classes.body} role="rowgroup" style={{ height: size * bones.length }}>
          {bones.map((i) => (
            <SkeletonRow key={i} index={i} top={i * size} height={size} />
          ))}
        </div>
      ) : (
        <Rows rows={rows} size={size} />
      )}
    </div>
  );
}

interface RowsProps {
  rows: readonly string[];
  size: number;
}

/** Knows where on the page the rows begin. To ask for it takes a layout, so not while scrolling. */
function Rows({ rows, size }: RowsProps) {
  const body = useRef<HTMLDivElement>(null);
  const [margin, setMargin] = useState(0);
  // What is above the table can change its height.
  useLayoutEffect(() => {
    const top = body.current ? body.current.getBoundingClientRect().top + window.scrollY : 0;
    if (Math.abs(top - margin) > 0.5) setMargin(top);
  });
  return <Scrolled rows={rows} size={size} margin={margin} body={body} />;
}

/** The rows; they are made anew with each step of scrolling, and nothing else is. */
function Scrolled({
  rows,
  size,
  margin,
  body,
}: RowsProps & { margin: number; body: RefObject<HTMLDivElement | null> }) {
  const virtual = useWindowVirtualizer({
    count: rows.length,
    estimateSize: () => size,
    overscan: 12,
    scrollMargin: margin,
    getItemKey: (i) => rows[i] ?? i,
  });
  // biome-ignore lint/correctness/useExhaustiveDependencies: the rows have another height
  useLayoutEffect(() => virtual.measure(), [size]);

  const router = useRouter();
  // One listener for all rows; the router's own links are too slow to be made by the hundred.
  const follow = (e: MouseEvent) => {
    const link = (e.target as HTMLElement).closest('a');
    if (!link || e.defaultPrevented || e.button !== 0 || e.ctrlKey || e.metaKey || e.shiftKey || e.altKey) return;
    e.preventDefault();
    router.history.push(link.pathname + link.search);
  };

  const move = (e: KeyboardEvent) => {
    const at = Number((e.target as HTMLElement).closest<HTMLElement>('[data-index]')?.dataset.index ?? Number.NaN);
    const step = { ArrowDown: 1, ArrowUp: -1, PageDown: 10, PageUp: -10, Home: -rows.length, End: rows.length }[e.key];
    if (Number.isNaN(at) || step === undefined || e.ctrlKey || e.metaKey || e.altKey) return;
    e.preventDefault();
    const to = Math.min(rows.length - 1, Math.max(0, at + step));
    virtual.scrollToIndex(to, { align: 'auto' });
    // The row may only now come into the page.
    const focus = (tries: number) => {
      const link = body.current?.querySelector<HTMLElement>(`[data-index="${to}"] a`);
      if (link) link.focus({ preventScroll: true });
      else if (tries > 0) requestAnimationFrame(() => focus(tries - 1));
    };
    focus(10);
  };

  return (
    <div
      ref={body}
      className={classes.body}
      role="rowgroup"
      style={{ height: virtual.getTotalSize() }}
      onKeyDown={move}
      onClick={follow}
    >
      {virtual.getVirtualItems().map(({ key, index, start }) => (
        <Row key={key} id={rows[index] ?? ''} index={index} top={start - margin} height={size} />
      ))}
    </div>
  );
}

function Heading({
  column,
  sort,
  onSort,
}: {
  column: (typeof columns)[number];
  sort: Sort;
  onSort(key: SortKey): void;
}) {
  const { t } = useText();
  const key = sortOf[column];
  const sorted = key !== undefined && sort.key === key;
  return (
    <div
      role="columnheader"
      className={classes.head}
      aria-sort={sorted ? (sort.descending ? 'descending' : 'ascending') : undefined}
    >
      {key ? (
        <button type="button" className={classes.sort} onClick={() => onSort(key)}>
          {t(`column.${column}`)}
          {sorted && (sort.descending ? <IconArrowDown size={14} /> : <IconArrowUp size={14} />)}
        </button>
      ) : (
        t(`column.${column}`)
      )}
    </div>
  );
}

const Row = memo(function Row({ id, index, top, height }: { id: string; index: number; top: number; height: number }) {
  const system = useSystem(id);
  if (!system) return null;
  return (
    <div
      role="row"
      aria-rowindex={index + 2}
      data-index={index}
      className={classes.row}
      style={{ height, transform: `translateY(${top}px)` }}
    >
      <div role="cell" className={classes.name}>
        <StatusDot system={system} />
        <div className={classes.words}>
          <a href={inTenant(`/systems/${id}`, workingIn)} className={classes.link}>
            {system.name}
          </a>
          {system.note && <span className={classes.note}>{system.note}</span>}
        </div>
      </div>
      <div role="cell" className={classes.serial}>
        {groupedSerial(system.serial)}
      </div>
      <div role="cell" className={classes.status}>
        <StatusText system={system} />
      </div>
      <div role="cell" className={classes.connection}>
        <Transport system={system} />
      </div>
      <div role="cell" className={classes.labels}>
        <Labels system={system} most={height === rowHeight.card ? 1 : 2} />
      </div>
    </div>
  );
});

const bones = [0, 1, 2, 3, 4, 5, 6, 7];

/** A row that is not there yet; its bars are as long as names are. */
function SkeletonRow({ index, top, height }: { index: number; top: number; height: number }) {
  return (
    <div className={classes.row} style={{ height, transform: `translateY(${top}px)` }} aria-hidden="true">
      <div className={classes.name}>
        <span className={classes.bone} data-wide={index % 3} />
      </div>
      <div className={classes.serial}>
        <span className={classes.bone} data-wide="0" />
      </div>
      <div className={classes.status}>
        <span className={classes.bone} data-wide={(index + 1) % 3} />
      </div>
    </div>
  );
}

const menuOrders = ['name', '-name', 'serial', 'status', 'since', '-since', '-created'] as const;

/** The orders as a menu: where there are no headings, and for orders that have none. */
export function SortMenu({ sort, onSort }: { sort: Sort; onSort(sort: string | undefined): void }) {
  const { t } = useText();
  const current = `${sort.descending ? '-' : ''}${sort.key}`;
  return (
    <Menu position="bottom-end">
      <Menu.Target>
        <Button variant="default" className={classes.sortMenu} aria-label={t('sort.button')}>
          <IconArrowsSort size={17} />
        </Button>
      </Menu.Target>
      <Menu.Dropdown>
        <Menu.Label>{t('sort.button')}</Menu.Label>
        {menuOrders.map((order) => (
          <Menu.Item
            key={order}
            aria-current={order === current}
            fw={order === current ? 600 : 400}
            onClick={() => onSort(order === 'name' ? undefined : order)}
          >
            {t(`sort.${order}`)}
          </Menu.Item>
        ))}
      </Menu.Dropdown>
    </Menu>
  );
}
