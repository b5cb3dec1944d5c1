import type { System } from '../api/types';
import classes from './Labels.module.css';

/** Groups and tags of a system, at most so many; the rest is in the title. */
export function Labels({ system, most = Number.POSITIVE_INFINITY }: { system: System; most?: number }) {
  const labels = [
    ...system.groups.map((g) => ({ key: g.id, text: g.name, group: true })),
    ...system.tags.map((tag) => ({ key: `#${tag}`, text: tag, group: false })),
  ];
  const rest = labels.slice(most);
  return (
    <span className={classes.labels}>
      {labels.slice(0, most).map(({ key, text, group }) => (
        <span key={key} className={classes.label} data-group={group}>
          <span className={classes.text}>{text}</span>
        </span>
      ))}
      {rest.length > 0 && (
        <span className={classes.label} title={rest.map((l) => l.text).join(', ')}>
          +{rest.length}
        </span>
      )}
    </span>
  );
}
