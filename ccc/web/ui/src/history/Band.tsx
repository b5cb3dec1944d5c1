import { type PointerEvent, useId, useMemo, useState } from 'react';
import { useText } from '../i18n';
import { serverNow } from '../time/clock';
import { dateTime, localeOf, milliseconds, timeOfDay } from '../time/format';
import { ceiling, lengthOf, outages, type Part, partAt, partsOf, rttParts } from './band';
import { durationText } from './duration';
import classes from './History.module.css';
import type { History, Range } from './queries';
import { useIntervalText, wayText } from './text';

/** The drawings are so many units wide, whatever the page is. */
const width = 1000;
/** What is shorter is drawn, and found by the pointer, as if it were so long. */
const least = 0.004;

/** When the system was online, as a band over time. What it shows is in the table, too. */
export function Band({ history, range }: { history: History; range: Range }) {
  const { t, language } = useText();
  const text = useIntervalText();
  const parts = useMemo(() => partsOf(history.items, history.fromMs, history.toMs), [history]);
  const [at, setAt] = useState<Part>();
  const point = (e: PointerEvent<SVGSVGElement>) => {
    const box = e.currentTarget.getBoundingClientRect();
    setAt(partAt(parts, (e.clientX - box.left) / box.width, least));
  };
  // Those that are short are drawn last, upon the others.
  const drawn = [...parts].sort((a, b) => b.to - b.from - (a.to - a.from));
  return (
    <div className={classes.plot}>
      <svg
        className={classes.band}
        viewBox={`0 0 ${width} 28`}
        preserveAspectRatio="none"
        role="img"
        aria-label={t('history.band', {
          from: dateTime(history.from, language),
          to: dateTime(history.to, language),
          outages: outages(history.items),
        })}
        onPointerMove={point}
        onPointerDown={point}
        onPointerLeave={() => setAt(undefined)}
      >
        <rect className={classes.part} data-state="unseen" width={width} height={28} />
        {drawn.map((part) => (
          <rect
            key={part.item.id}
            className={classes.part}
            data-state={part.item.state}
            data-at={part === at || undefined}
            x={Math.min(part.from, 1 - least) * width}
            width={Math.max(part.to - part.from, least) * width}
            height={28}
          />
        ))}
      </svg>
      <Axis history={history} range={range} />
      <p className={classes.at}>
        {at ? (
          <>
            <b>{text(at.item)}</b>{' '}
            {`${dateTime(at.item.from, language)} – ${at.item.to ? dateTime(at.item.to, language) : t('history.now')}, `}
            {durationText(lengthOf(at.item, serverNow()), language)}
            {wayText(at.item) && ` · ${wayText(at.item)}`}
            {at.item.rtt_ms && ` · ${milliseconds(at.item.rtt_ms.mean, language)}`}
          </>
        ) : (
          t('history.point')
        )}
      </p>
      <ul className={classes.legend}>
        {(['online', 'offline', 'flapping', 'quarantined', 'unseen'] as const).map((state) => (
          <li key={state}>
            <span className={classes.swatch} data-state={state} />
            {t(`history.state.${state}`)}
          </li>
        ))}
      </ul>
    </div>
  );
}

/** The times below the band. */
function Axis({ history, range }: { history: History; range: Range }) {
  const { language } = useText();
  const day = new Intl.DateTimeFormat(localeOf(language), { day: 'numeric', month: 'short' });
  const marks = [0, 0.25, 0.5, 0.75, 1].map((f) => history.fromMs + f * (history.toMs - history.fromMs));
  return (
    <div className={classes.axis} aria-hidden="true">
      {marks.map((mark) => (
        <span key={mark}>{range === 'day' ? timeOfDay(mark, language) : day.format(mark)}</span>
      ))}
    </div>
  );
}

/** How long a word took to the relay and back, over the same time. */
export function RoundTrips({ history }: { history: History }) {
  const { t, language } = useText();
  const clip = useId();
  const known = useMemo(() => rttParts(partsOf(history.items, history.fromMs, history.toMs)), [history]);
  if (known.length === 0) return null;
  const most = Math.max(...known.map((p) => p.rtt.max));
  const top = ceiling(most);
  const y = (ms: number) => 60 - (ms / top) * 60;
  const mean =
    known.reduce((sum, p) => sum + p.rtt.mean * (p.to - p.from), 0) / known.reduce((s, p) => s + p.to - p.from, 0);
  return (
    <figure className={classes.plot}>
      <figcaption className={classes.caption}>
        <span>{t('history.rtt')}</span>
        <span className="tabular">
          {t('history.rttRange', {
            min: milliseconds(Math.min(...known.map((p) => p.rtt.min)), language),
            max: milliseconds(most, language),
            mean: milliseconds(Number.isFinite(mean) ? mean : (known[0]?.rtt.mean ?? 0), language),
          })}
        </span>
      </figcaption>
      <div className={classes.trips}>
        <span className={classes.top} aria-hidden="true">
          {milliseconds(top, language)}
        </span>
        <svg className={classes.trip} viewBox={`0 0 ${width} 60`} preserveAspectRatio="none" aria-hidden="true">
          <clipPath id={clip}>
            <rect width={width} height={60} />
          </clipPath>
          <g clipPath={`url(#${clip})`}>
            {known.map((p) => (
              <g key={p.item.id} data-transport={p.item.transport} className={classes.leg}>
                <rect
                  x={p.from * width}
                  width={Math.max(p.to - p.from, least) * width}
                  y={y(p.rtt.max)}
                  height={Math.max(y(p.rtt.min) - y(p.rtt.max), 0.5)}
                />
                <path d={`M${p.from * width} ${y(p.rtt.mean)}H${Math.max(p.to, p.from + least) * width}`} />
              </g>
            ))}
          </g>
        </svg>
      </div>
      <ul className={classes.legend}>
        {(['quic', 'tcp'] as const).map((transport) => (
          <li key={transport}>
            <span className={classes.swatch} data-transport={transport} />
            {{ quic: 'QUIC', tcp: 'TCP' }[transport]}
          </li>
        ))}
      </ul>
    </figure>
  );
}
