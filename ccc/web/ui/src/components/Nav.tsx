import { Link } from '@tanstack/react-router';
import { useText } from '../i18n';
import { useAreas } from './areas';
import classes from './Nav.module.css';

/** The areas of the pages, in the header of wide windows; narrow ones have them in the menu of the account. */
export function Nav() {
  const { t } = useText();
  return (
    <nav className={classes.nav} aria-label={t('nav.label')}>
      {useAreas().map(({ name, to }) => (
        <Link key={to} to={to} className={classes.link} activeOptions={{ exact: to === '/' }}>
          {t(`nav.${name}`)}
        </Link>
      ))}
    </nav>
  );
}
