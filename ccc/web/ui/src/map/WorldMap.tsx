import { ActionIcon } from '@mantine/core';
import { useElementSize, useMergedRef } from '@mantine/hooks';
import { IconFocusCentered, IconMinus, IconPlus } from '@tabler/icons-react';
import { useQuery } from '@tanstack/react-query';
import { type KeyboardEvent, type PointerEvent, useEffect, useMemo, useRef, useState } from 'react';
import { useText } from '../i18n';
import { countriesQuery } from './countries';
import classes from './Map.module.css';
import { type Cluster, clusters, type Place } from './sites';
import { fitted, moved, type Point, placeAt, pointOf, type View, world, zoomed } from './view';

interface Props {
  places: readonly Place[];
  /** The site that is looked at. */
  selected: string | undefined;
  onSelect(site: string): void;
  /** A place that is being chosen; with onPick a click chooses one. */
  pin: { longitude: number; latitude: number } | undefined;
  onPick: ((place: { longitude: number; latitude: number }) => void) | undefined;
}

/** How far a finger may slip in a click. */
const slip = 5;

/** The sites on a map of the world, which is drawn from a file of this site. */
export function WorldMap({ places, selected, onSelect, pin, onPick }: Props) {
  const { t } = useText();
  const { data: countries, isError } = useQuery(countriesQuery);
  const { ref, width, height } = useElementSize<HTMLElement>();
  const element = useRef<HTMLElement>(null);
  const refs = useMergedRef(ref, element);
  const size = useMemo(() => ({ width, height }), [width, height]);
  const [chosen, setView] = useState<View>();
  const known = places.flatMap((p) => (p.at ? [p.at] : []));
  const fit = width > 0 ? fitted(known, size) : undefined;
  const view = chosen ?? fit;
  const now = useRef(view);
  now.current = view;

  // React listens to the wheel in a way that cannot keep the page from scrolling.
  useEffect(() => {
    const box = element.current;
    if (!box) return;
    const turn = (e: WheelEvent) => {
      if (!now.current) return;
      e.preventDefault();
      const { left, top } = box.getBoundingClientRect();
      setView(zoomed(now.current, 2 ** (-e.deltaY / 300), [e.clientX - left, e.clientY - top], size));
    };
    box.addEventListener('wheel', turn, { passive: false });
    return () => box.removeEventListener('wheel', turn);
  }, [size]);

  // A site that is chosen in the list comes into sight.
  const target = places.find((p) => p.site.id === selected)?.at;
  const [tx, ty] = target ?? [undefined, undefined];
  useEffect(() => {
    const at = now.current;
    if (tx === undefined || ty === undefined || !at || size.width === 0) return;
    const [x, y] = [tx * at.k + at.x, ty * at.k + at.y];
    if (x < 30 || y < 30 || x > size.width - 30 || y > size.height - 30) setView(fitted([[tx, ty]], size));
  }, [tx, ty, size]);

  const middle: Point = [width / 2, height / 2];
  const zoom = (by: number) => view && setView(zoomed(view, by, middle, size));
  const press = (e: KeyboardEvent) => {
    if (!view || e.ctrlKey || e.metaKey || e.altKey) return;
    const step: Point | undefined = (
      { ArrowLeft: [80, 0], ArrowRight: [-80, 0], ArrowUp: [0, 80], ArrowDown: [0, -80] } as Record<string, Point>
    )[e.key];
    if (step) setView(moved(view, step, size));
    else if (e.key === '+' || e.key === '=') zoom(1.6);
    else if (e.key === '-') zoom(1 / 1.6);
    else if (e.key === '0') setView(undefined);
    else return;
    e.preventDefault();
  };
  const drag = useDrag(view, size, setView, (at) => view && onPick?.(placeAt(view, at)));

  const shown = view ? clusters(places, view) : [];
  const open = (c: Cluster) => {
    const [first] = c.places;
    if (c.places.length === 1 && first) return onSelect(first.site.id);
    setView(
      fitted(
        c.places.flatMap((p) => (p.at ? [p.at] : [])),
        size,
      ),
    );
  };
  const at = pin && view ? pointOf(pin.longitude, pin.latitude) : undefined;
  return (
    <div className={classes.frame}>
      <section
        ref={refs}
        className={classes.map}
        data-pick={Boolean(onPick)}
        // biome-ignore lint/a11y/noNoninteractiveTabindex: it is moved by the keyboard
        tabIndex={0}
        aria-label={t('history.map.label')}
        onKeyDown={press}
        {...drag}
      >
        {view && (
          <svg className={classes.drawing} width={width} height={height} role="presentation">
            <g transform={`translate(${view.x} ${view.y}) scale(${view.k})`} className={classes.land}>
              {countries
                ?.filter(
                  (c) =>
                    c.right > -view.x / view.k &&
                    c.left < (width - view.x) / view.k &&
                    c.bottom > -view.y / view.k &&
                    c.top < (height - view.y) / view.k,
                )
                .map((c) => (
                  <path key={c.id} d={c.path} />
                ))}
            </g>
            {shown.map((c) => (
              <Marker key={c.places[0]?.site.id} cluster={c} selected={selected} onOpen={() => open(c)} />
            ))}
            {at && <circle className={classes.pin} cx={at[0] * view.k + view.x} cy={at[1] * view.k + view.y} r={8} />}
          </svg>
        )}
      </section>
      <div className={classes.tools}>
        <ActionIcon
          variant="default"
          size="lg"
          aria-label={t('history.map.in')}
          onClick={() => zoom(2)}
          disabled={!view}
        >
          <IconPlus size={18} />
        </ActionIcon>
        <ActionIcon
          variant="default"
          size="lg"
          aria-label={t('history.map.out')}
          onClick={() => zoom(0.5)}
          disabled={!view || view.k <= Math.max(width, height) / world}
        >
          <IconMinus size={18} />
        </ActionIcon>
        <ActionIcon variant="default" size="lg" aria-label={t('history.map.fit')} onClick={() => setView(undefined)}>
          <IconFocusCentered size={18} />
        </ActionIcon>
      </div>
      <p className={classes.credit}>{isError ? t('history.map.failed') : t('history.map.credit')}</p>
    </div>
  );
}

/** One or more sites: a filled disc where all is well, another form where not. */
function Marker({ cluster, selected, onOpen }: { cluster: Cluster; selected: string | undefined; onOpen(): void }) {
  const { t } = useText();
  const { places, state, at } = cluster;
  const [first] = places;
  const many = places.length > 1;
  const said = t(`history.map.worst.${state}`);
  const label = many
    ? t('history.map.cluster', { count: places.length, state: said })
    : t('history.map.site', {
        name: first?.site.name ?? '',
        systems: t('history.map.systems', { count: first?.systems.length ?? 0 }),
        state: said,
      });
  return (
    <g
      className={classes.marker}
      data-state={state}
      data-selected={places.some((p) => p.site.id === selected) || undefined}
      transform={`translate(${at[0]} ${at[1]})`}
      role="button"
      tabIndex={0}
      aria-label={label}
      onClick={onOpen}
      onKeyDown={(e) => {
        if (e.key !== 'Enter' && e.key !== ' ') return;
        e.preventDefault();
        e.stopPropagation();
        onOpen();
      }}
    >
      <title>{label}</title>
      {state === 'attention' ? <rect x={-12} y={-12} width={24} height={24} rx={4} /> : <circle r={many ? 14 : 11} />}
      <text dy="0.35em">{many ? places.length : (first?.systems.length ?? 0)}</text>
    </g>
  );
}

/** Moves the view by the pointer, and by two fingers changes its scale; what is not moved is a click. */
function useDrag(
  view: View | undefined,
  size: { width: number; height: number },
  setView: (v: View) => void,
  onClick: (at: Point) => void,
) {
  const held = useRef(new Map<number, Point>());
  const way = useRef(0);
  const at = (e: PointerEvent<HTMLElement>): Point => {
    const box = e.currentTarget.getBoundingClientRect();
    return [e.clientX - box.left, e.clientY - box.top];
  };
  const release = (e: PointerEvent<HTMLElement>) => held.current.delete(e.pointerId);
  return {
    onPointerDown(e: PointerEvent<HTMLElement>) {
      if ((e.target as Element).closest('[role=button]')) return;
      if (held.current.size === 0) way.current = 0;
      held.current.set(e.pointerId, at(e));
      e.currentTarget.setPointerCapture(e.pointerId);
    },
    onPointerMove(e: PointerEvent<HTMLElement>) {
      const before = held.current.get(e.pointerId);
      if (!before || !view) return;
      const now = at(e);
      const other = [...held.current].find(([id]) => id !== e.pointerId)?.[1];
      held.current.set(e.pointerId, now);
      way.current += Math.hypot(now[0] - before[0], now[1] - before[1]);
      if (way.current < slip) return;
      if (!other) return setView(moved(view, [now[0] - before[0], now[1] - before[1]], size));
      const apart = (p: Point) => Math.max(1, Math.hypot(p[0] - other[0], p[1] - other[1]));
      const middle: Point = [(now[0] + other[0]) / 2, (now[1] + other[1]) / 2];
      setView(
        moved(
          zoomed(view, apart(now) / apart(before), middle, size),
          [(now[0] - before[0]) / 2, (now[1] - before[1]) / 2],
          size,
        ),
      );
    },
    onPointerUp(e: PointerEvent<HTMLElement>) {
      if (held.current.has(e.pointerId) && held.current.size === 1 && way.current < slip) onClick(at(e));
      release(e);
    },
    onPointerCancel: release,
  };
}
