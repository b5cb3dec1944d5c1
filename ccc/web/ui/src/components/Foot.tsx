import { Anchor } from '@mantine/core';
import { Link } from '@tanstack/react-router';
import { useMeta } from '../app/meta';
import { languages, showLanguage, useText } from '../i18n';
import classes from './Foot.module.css';

/** The foot of the pages that need no account: who is responsible, privacy, language. */
export function Foot() {
  const { t, language } = useText();
  const { brand } = useMeta();
  return (
    <footer className={classes.foot}>
      <span>{brand.legal}</span>
      <Anchor renderRoot={(props) => <Link {...props} to="/privacy" />} c="dimmed" size="sm">
        {t('privacy.title')}
      </Anchor>
      <nav className={classes.languages} aria-label={t('account.language')}>
        {languages.map((l) => (
          <button
            key={l}
            type="button"
            lang={l}
            aria-pressed={l === language}
            className={classes.language}
            onClick={() => void showLanguage(l)}
          >
            {languageNames[l]}
          </button>
        ))}
      </nav>
    </footer>
  );
}

/** Each language by its own name. */
export const languageNames = { de: 'Deutsch', en: 'English', fr: 'Français' } as const;
