import { Container } from '@mantine/core';
import { IconAlertTriangle, IconBuilding } from '@tabler/icons-react';
import { useMutation, useQuery } from '@tanstack/react-query';
import type { TFunction } from 'i18next';
import { api, call } from '../api/client';
import type { Language, TenantAccess } from '../api/types';
import { useMe } from '../app/meta';
import { useText } from '../i18n';
import { tenantsQuery } from '../organisation/queries';
import { dateTime } from '../time/format';
import { useComplain } from './notify';
import classes from './TenantBand.module.css';

/** Says on each page that the person works in another tenant than the own one, by what, and until when. */
export function TenantBand() {
  const { t, language } = useText();
  const { tenant } = useMe();
  const complain = useComplain();
  const { data: tenants } = useQuery(tenantsQuery);
  const home = tenants?.[0];
  const here = tenants?.find(({ id }) => id === tenant.id);
  const end = useMutation({
    // It is a record of the own tenant too, and this one may not be let end it.
    mutationFn: (id: string) =>
      call(api.DELETE('/break-glass/{id}', { params: { path: { id } }, headers: { 'Auer-Tenant': home?.id } })),
    onSuccess: () => window.location.assign('/'),
    onError: complain,
  });
  const glass = here?.break_glass_id;
  const why = here ? whyText(t, here, language) : '';
  return (
    <aside className={classes.band} data-via={here?.via} aria-label={t('organisation.band.label')}>
      <Container size="xl" className={classes.line}>
        {glass ? <IconAlertTriangle size={18} aria-hidden="true" /> : <IconBuilding size={18} aria-hidden="true" />}
        <p className={classes.words} title={why}>
          <strong>{t('organisation.band.in', { name: tenant.name })}</strong> {why}
        </p>
        {glass && (
          <button type="button" className={classes.out} disabled={end.isPending} onClick={() => end.mutate(glass)}>
            {t('organisation.band.end')}
          </button>
        )}
        <a className={classes.out} href="/">
          {home ? t('organisation.band.home', { name: home.name }) : t('organisation.gone.home')}
        </a>
      </Container>
    </aside>
  );
}

function whyText(t: TFunction, { via, until, reason }: TenantAccess, language: Language): string {
  const time = until ? dateTime(until, language) : '';
  if (via === 'break_glass') return t('organisation.band.glass', { time, reason });
  return time ? t('organisation.band.until', { time }) : t('organisation.band.standing');
}
