import { useComputedColorScheme } from '@mantine/core';
import { useEffect, useRef, useState } from 'react';
import UPlot from 'uplot';
import 'uplot/dist/uPlot.min.css';
import { useText } from '../i18n';
import { count, localeOf } from '../time/format';
import classes from './Plot.module.css';
import { type Series, stacked } from './series';

/** The colours of curves, as variables of the page's style. */
export const colours = ['ok', 'warn', 'bad', 'idle'] as const;
export type Colour = (typeof colours)[number] | `plot-${1 | 2 | 3 | 4 | 5 | 6}`;

export interface Curve extends Series {
  label: string;
  colour: Colour;
}

const height = 200;

/** Formats the times of a plot: days as those of UTC, hours as those of here. */
export function timeFormat(language: Parameters<typeof localeOf>[0], by: 'hour' | 'day'): (ms: number) => string {
  const f = new Intl.DateTimeFormat(
    localeOf(language),
    by === 'day'
      ? { day: 'numeric', month: 'short', timeZone: 'UTC' }
      : { weekday: 'short', hour: '2-digit', minute: '2-digit' },
  );
  return (ms) => f.format(ms);
}

/** Stacked bars over time. What they show is in a table, too: a screen reader is told the title only. */
export function Plot({
  title,
  times,
  curves,
  by,
}: {
  title: string;
  times: number[];
  curves: Curve[];
  by: 'hour' | 'day';
}) {
  const { language } = useText();
  const scheme = useComputedColorScheme('light');
  const box = useRef<HTMLDivElement>(null);
  const [at, setAt] = useState<number | null>(null);
  const format = timeFormat(language, by);
  const drawn = useRef({ times, curves, format });
  drawn.current = { times, curves, format };
  // What makes a new plot necessary; all else is read when it is drawn.
  const key = JSON.stringify([scheme, language, by, times[0], times.length, curves]);

  // biome-ignore lint/correctness/useExhaustiveDependencies: key has all that is drawn
  useEffect(() => {
    const element = box.current;
    if (!element) return;
    const style = getComputedStyle(document.documentElement);
    const colour = (name: string) => style.getPropertyValue(`--ccc-${name}`).trim();
    const { times, curves, format } = drawn.current;
    const step = (by === 'day' ? 86_400 : 3600) as number;
    const sums = stacked(curves);
    const bars = UPlot.paths.bars?.({ size: [0.8, 48], gap: 1 });
    const axis: UPlot.Axis = {
      stroke: colour('muted'),
      font: `12px ${getComputedStyle(element).fontFamily}`,
      ticks: { show: false },
    };
    const plot = new UPlot(
      {
        width: element.clientWidth,
        height,
        legend: { show: false },
        cursor: { y: false, points: { show: false }, drag: { x: false, y: false } },
        scales: {
          x: { time: false, range: (_, min, max) => [min - step / 2, max + step / 2] },
          y: { range: (_, __, max) => [0, Math.max(4, max * 1.08)] },
        },
        axes: [
          {
            ...axis,
            grid: { show: false },
            space: 90,
            size: 30,
            incrs: [1, 2, 3, 6, 12, 24, 48, 168, 720, 2160].map((n) => n * step),
            values: (_, splits) => splits.map((s) => format(s * 1000)),
          },
          {
            ...axis,
            size: 56,
            grid: { stroke: colour('line'), width: 1 },
            values: (_, splits) => splits.map((n) => (Number.isInteger(n) ? count(n, language) : '')),
          },
        ],
        // The last one is the highest, and the others are drawn over it.
        series: [
          {},
          ...curves
            .map((c) => ({
              label: c.label,
              fill: colour(c.colour),
              stroke: colour(c.colour),
              width: 0,
              points: { show: false },
              ...(bars && { paths: bars }),
            }))
            .reverse(),
        ],
        hooks: { setCursor: [(u) => setAt(u.cursor.idx ?? null)] },
      },
      [times.map((t) => t / 1000), ...sums.toReversed()],
      element,
    );
    const observer = new ResizeObserver(() => plot.setSize({ width: element.clientWidth, height }));
    observer.observe(element);
    return () => {
      observer.disconnect();
      plot.destroy();
    };
  }, [key]);

  const time = at === null ? undefined : times[at];
  return (
    <figure className={classes.figure}>
      <figcaption className={classes.caption}>
        <strong>{title}</strong>
        <span className={classes.at}>{time !== undefined && format(time)}</span>
      </figcaption>
      <div ref={box} className={classes.box} role="img" aria-label={title} />
      <ul className={classes.legend}>
        {curves.map((c) => (
          <li key={c.name}>
            <span className={classes.swatch} data-colour={c.colour} aria-hidden="true" />
            {c.label}
            {at !== null && time !== undefined && <b>{count(c.values[at] ?? 0, language)}</b>}
          </li>
        ))}
      </ul>
    </figure>
  );
}
