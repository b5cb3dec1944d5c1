import { Button, Container, Title } from '@mantine/core';
import { IconPlus, IconRouter, IconSearchOff } from '@tabler/icons-react';
import { Link } from '@tanstack/react-router';
import { useRights } from '../app/meta';
import { useText } from '../i18n';
import { Notice } from './Failure';
import classes from './FleetEmpty.module.css';

/** The page of a tenant that has no system yet: what to do first. */
export function FleetEmpty() {
  const { t } = useText();
  const { write } = useRights();
  return (
    <Container size="sm" className={classes.page}>
      <div className={classes.icon}>
        <IconRouter size={44} stroke={1.3} aria-hidden="true" />
      </div>
      <Title order={1}>{t('empty.title')}</Title>
      <p className={classes.lead}>{write ? t('empty.lead') : t('empty.viewer')}</p>
      {write && (
        <>
          <ol className={classes.steps}>
            {(['serial', 'token', 'done'] as const).map((step) => (
              <li key={step}>
                <strong>{t(`empty.${step}.title`)}</strong>
                <span>{t(`empty.${step}.text`)}</span>
              </li>
            ))}
          </ol>
          <Button size="md" leftSection={<IconPlus size={18} />} renderRoot={(props) => <Link {...props} to="/add" />}>
            {t('fleet.add')}
          </Button>
        </>
      )}
    </Container>
  );
}

export function FleetNoMatch({ onClear }: { onClear(): void }) {
  const { t } = useText();
  return (
    <Notice
      icon={<IconSearchOff size={36} stroke={1.4} />}
      title={t('noMatch.title')}
      action={
        <Button variant="default" onClick={onClear}>
          {t('noMatch.clear')}
        </Button>
      }
    >
      {t('noMatch.text')}
    </Notice>
  );
}
