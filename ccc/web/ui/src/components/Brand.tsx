import { useMeta } from '../app/meta';
import classes from './Brand.module.css';

/** The mark of the control centre in the brand's colour: a handset between two systems. */
export function Mark({ size = 28 }: { size?: number }) {
  return (
    <svg className={classes.mark} width={size} height={size} viewBox="0 0 32 32" aria-hidden="true">
      <rect width="32" height="32" rx="8" fill="currentColor" />
      <path d="M9 21.5V16a7 7 0 0 1 14 0v5.5" fill="none" stroke="#fff" strokeWidth="2.6" strokeLinecap="round" />
      <circle cx="9" cy="21.5" r="2.6" fill="#fff" />
      <circle cx="23" cy="21.5" r="2.6" fill="#fff" />
      <circle cx="16" cy="16" r="2.2" fill="#fff" />
    </svg>
  );
}

export function Wordmark() {
  const { brand } = useMeta();
  return (
    <span className={classes.words}>
      <span className={classes.name}>{brand.name}</span> <span className={classes.product}>Control Center</span>
    </span>
  );
}
