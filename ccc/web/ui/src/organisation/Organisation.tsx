import { Container, CopyButton, Title, Tooltip, UnstyledButton } from '@mantine/core';
import { IconCheck, IconCopy } from '@tabler/icons-react';
import { Link, Navigate, Outlet } from '@tanstack/react-router';
import { useMay, useMe } from '../app/meta';
import { useTitle } from '../app/useTitle';
import { useText } from '../i18n';
import classes from './Organisation.module.css';

const tabs = [
  { name: 'people', to: '/organisation/people' },
  { name: 'sites', to: '/organisation/sites' },
  { name: 'customers', to: '/organisation/customers' },
  { name: 'access', to: '/organisation/access' },
  { name: 'handovers', to: '/organisation/handovers' },
] as const;

/** What surrounds the pages about the tenant and who belongs to it. */
export function OrganisationPage() {
  const { t } = useText();
  const { tenant } = useMe();
  useTitle(t('nav.organisation'));
  return (
    <Container size="lg" className={classes.page}>
      <Title order={1}>{tenant.name}</Title>
      <p className={classes.lead}>
        {tenant.legal_name !== tenant.name && <span>{tenant.legal_name}</span>}
        <span>{t(`organisation.kind.${tenant.kind}`)}</span>
        <TenantID id={tenant.id} />
      </p>
      <nav className={classes.tabs} aria-label={t('nav.organisation')}>
        {tabs
          // Customers have none below them.
          .filter(({ name }) => name !== 'customers' || tenant.kind !== 'customer')
          .map(({ name, to }) => (
            <Link key={name} to={to} className={classes.tab}>
              {t(`organisation.tab.${name}`)}
            </Link>
          ))}
      </nav>
      <Outlet />
    </Container>
  );
}

/** The tenant's id, which others need who give it access or a system. */
function TenantID({ id }: { id: string }) {
  const { t } = useText();
  return (
    <CopyButton value={id}>
      {({ copied, copy }) => (
        <Tooltip label={copied ? t('setup.copied') : t('organisation.idHint')} multiline maw={280}>
          <UnstyledButton className={classes.id} onClick={copy} aria-label={t('organisation.copyID', { id })}>
            <span>{t('organisation.id', { id })}</span>
            {copied ? <IconCheck size={14} aria-hidden="true" /> : <IconCopy size={14} aria-hidden="true" />}
          </UnstyledButton>
        </Tooltip>
      )}
    </CopyButton>
  );
}

/** Leads to the first of the pages that the person may see. */
export function OrganisationStart() {
  const { whole } = useMay();
  return <Navigate to={whole('users.read') ? '/organisation/people' : '/organisation/sites'} replace />;
}
