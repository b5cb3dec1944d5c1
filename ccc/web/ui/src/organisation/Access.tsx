import { Paper, Title } from '@mantine/core';
import { useMay, useMe } from '../app/meta';
import { useText } from '../i18n';
import { GlassList } from './Glass';
import { GrantsGiven, GrantsReceived } from './Grants';
import { Needs } from './Needs';
import classes from './Organisation.module.css';

/** Who of other tenants may do something here, and where the own people may do something. */
export function AccessPage() {
  const { t } = useText();
  const { tenant } = useMe();
  const { whole } = useMay();
  const may = whole('grants.read');
  return (
    <>
      <Paper withBorder radius="lg" className={classes.section} component="section" aria-labelledby="given">
        <Title order={2} id="given" mb="sm">
          {t('organisation.grants.given')}
        </Title>
        {may ? <GrantsGiven /> : <Needs verb="grants.read" />}
      </Paper>
      <Paper withBorder radius="lg" className={classes.section} component="section" aria-labelledby="glass">
        <Title order={2} id="glass" mb="sm">
          {t(tenant.kind === 'operator' ? 'organisation.glass.ours' : 'organisation.glass.title')}
        </Title>
        {may ? <GlassList /> : <Needs verb="grants.read" />}
      </Paper>
      <Paper withBorder radius="lg" className={classes.section} component="section" aria-labelledby="received">
        <Title order={2} id="received" mb="sm">
          {t('organisation.grants.received')}
        </Title>
        <GrantsReceived />
      </Paper>
    </>
  );
}
