import { Button, Stack, Text, Title } from '@mantine/core';
import { IconCloudOff, IconLock, IconMapQuestion } from '@tabler/icons-react';
import { Link, useRouter } from '@tanstack/react-router';
import type { ReactNode } from 'react';
import { asApiError } from '../api/problem';
import { problemText } from '../api/problemText';
import { workingIn } from '../api/tenant';
import { Mark } from '../components/Brand';
import { useText } from '../i18n';
import classes from './Failure.module.css';

/** A page that says one thing, with at most one way on. */
export function Notice({
  icon,
  title,
  children,
  action,
}: {
  icon: ReactNode;
  title: string;
  children?: ReactNode;
  action?: ReactNode;
}) {
  return (
    <Stack className={classes.notice} align="center" gap="sm" role="status">
      <div className={classes.icon}>{icon}</div>
      <Title order={1}>{title}</Title>
      {children && (
        <Text c="dimmed" ta="center" maw="32rem">
          {children}
        </Text>
      )}
      {action && <div className={classes.action}>{action}</div>}
    </Stack>
  );
}

/** Shown where a page cannot be: the server is away, or the program has a fault. */
export function FailurePage({ error, reset }: { error: unknown; reset?: () => void }) {
  const { t } = useText();
  const again = reset ?? (() => window.location.reload());
  return (
    <main className={classes.page}>
      <Mark />
      <Notice
        icon={<IconCloudOff size={40} stroke={1.4} />}
        title={t('failure.title')}
        action={<Button onClick={again}>{t('failure.retry')}</Button>}
      >
        {problemText(t, asApiError(error))}
      </Notice>
    </main>
  );
}

/** The same for the pages of who is signed in: he may have nothing to do with the tenant, or not any more. */
export function ShellFailurePage(props: { error: unknown; reset?: () => void }) {
  const { t } = useText();
  if (!workingIn || asApiError(props.error).code !== 'not_found') return <FailurePage {...props} />;
  return (
    <main className={classes.page}>
      <Mark />
      <Notice
        icon={<IconLock size={40} stroke={1.4} />}
        title={t('organisation.gone.title')}
        action={
          <Button component="a" href="/">
            {t('organisation.gone.home')}
          </Button>
        }
      >
        {t('organisation.gone.text')}
      </Notice>
    </main>
  );
}

export function NotFoundPage() {
  const { t } = useText();
  const router = useRouter();
  return (
    <main className={classes.page}>
      <Mark />
      <Notice
        icon={<IconMapQuestion size={40} stroke={1.4} />}
        title={t('notFound.title')}
        action={
          <Button renderRoot={(props) => <Link {...props} to="/" />} onClick={() => void router.invalidate()}>
            {t('notFound.home')}
          </Button>
        }
      >
        {t('notFound.text')}
      </Notice>
    </main>
  );
}
