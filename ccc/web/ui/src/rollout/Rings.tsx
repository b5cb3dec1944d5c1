import { RingProgress } from '@mantine/core';
import { useText } from '../i18n';
import type { Rollout } from './queries';
import classes from './Rollout.module.css';
import { countOf } from './values';

/** The rings as pictures: what is done, what has failed, what is left. */
export function Rings({ rollout }: { rollout: Rollout }) {
  const { t } = useText();
  return (
    <ol className={classes.rings} aria-label={t('rollout.rings')}>
      {rollout.rings.map((ring) => {
        const of = (...states: string[]) => countOf([ring], ...states);
        const good = of('done', 'unchanged');
        const bad = of('failed', 'refused', 'conflict');
        const working = of('running');
        const part = (n: number) => (n / Math.max(ring.systems, 1)) * 100;
        return (
          <li key={ring.ring} className={classes.ring} data-current={rollout.ring === ring.ring}>
            <RingProgress
              size={96}
              thickness={10}
              aria-hidden="true"
              sections={[
                { value: part(good), color: 'teal' },
                { value: part(bad), color: 'red' },
                { value: part(working), color: 'yellow' },
              ]}
            />
            <strong>{t('rollout.ring', { number: ring.ring + 1 })}</strong>
            <span>{t('rollout.ringDone', { done: good, count: ring.systems })}</span>
            {bad > 0 && (
              <span className={classes.state} data-tone="bad">
                {t('rollout.ringFailed', { count: bad })}
              </span>
            )}
            {of('offline') > 0 && (
              <span className={classes.muted}>{t('rollout.ringOffline', { count: of('offline') })}</span>
            )}
          </li>
        );
      })}
    </ol>
  );
}
