import { Button, Container, Skeleton } from '@mantine/core';
import { IconAlertTriangle, IconMapQuestion } from '@tabler/icons-react';
import { useQuery } from '@tanstack/react-query';
import { Link } from '@tanstack/react-router';
import type { ReactNode } from 'react';
import { asApiError } from '../api/problem';
import { problemText } from '../api/problemText';
import type { System } from '../api/types';
import { refreshSystem, useFleet, useSystem } from '../fleet/store';
import { useText } from '../i18n';
import { Notice } from '../pages/Failure';
import classes from './SystemGate.module.css';

/** Gives a page the system that it is about, as it is now, or says why there is none. */
export function SystemGate({ id, children }: { id: string; children: (system: System) => ReactNode }) {
  const { t } = useText();
  const system = useSystem(id);
  const { complete } = useFleet();
  const { error, refetch } = useQuery({
    queryKey: ['system', id],
    queryFn: () => refreshSystem(id),
    enabled: !system,
    gcTime: 0,
  });
  if (system) return children(system);
  if (error && asApiError(error).code !== 'not_found') {
    return (
      <Notice
        icon={<IconAlertTriangle size={40} stroke={1.4} />}
        title={t('failure.title')}
        action={<Button onClick={() => void refetch()}>{t('failure.retry')}</Button>}
      >
        {problemText(t, error)}
      </Notice>
    );
  }
  if (error || complete) {
    return (
      <Notice
        icon={<IconMapQuestion size={40} stroke={1.4} />}
        title={t('system.gone.title')}
        action={<Button renderRoot={(props) => <Link {...props} to="/" />}>{t('notFound.home')}</Button>}
      >
        {t('system.gone.text')}
      </Notice>
    );
  }
  return (
    <Container size="lg" className={classes.page} aria-busy="true">
      <Skeleton height={14} width={90} mb="lg" />
      <Skeleton height={28} width="40%" mb="xs" />
      <Skeleton height={16} width={160} mb="xl" />
      <Skeleton height={220} radius="lg" mb="md" />
      <Skeleton height={160} radius="lg" />
    </Container>
  );
}
