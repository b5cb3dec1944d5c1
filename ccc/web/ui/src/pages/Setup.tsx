import { Anchor, Button, Container, Group, Paper, Skeleton, Text, Title } from '@mantine/core';
import { IconAlertTriangle, IconCircleCheckFilled, IconClockX, IconUserShield } from '@tabler/icons-react';
import { useMutation, useQuery, useQueryClient } from '@tanstack/react-query';
import { Link, useParams } from '@tanstack/react-router';
import type { ReactNode } from 'react';
import { api, call, idempotencyKey } from '../api/client';
import { asApiError } from '../api/problem';
import { problemText } from '../api/problemText';
import type { Offer, System } from '../api/types';
import { useMe, useRights } from '../app/meta';
import { useTitle } from '../app/useTitle';
import { BackLink } from '../components/BackLink';
import { useComplain } from '../components/notify';
import { SystemGate } from '../components/SystemGate';
import { refreshSystem, useStep } from '../fleet/store';
import { useText } from '../i18n';
import { groupedSerial } from '../serial';
import { useReason } from '../setup/history';
import { offerKey, offerQuery } from '../setup/offer';
import { type Progress, progressOf, type SetupFailure } from '../setup/progress';
import { Steps } from '../setup/Steps';
import { TokenCard } from '../setup/TokenCard';
import { useSecond } from '../time/clock';
import { secondsLeft } from '../time/format';
import classes from './Setup.module.css';

/** The second step of adding a PBX, and where one comes back to as long as it waits. */
export function SetupPage() {
  const { id } = useParams({ from: '/shell/systems/$id/setup' });
  return <SystemGate id={id}>{(system) => <Setup system={system} />}</SystemGate>;
}

function Setup({ system }: { system: System }) {
  const { t } = useText();
  const progress = progressOf(system, useStep(system.id));
  useTitle(t('setup.title', { name: system.name }));
  return (
    <Container size="lg" className={classes.page}>
      <BackLink to="/systems/$id" params={{ id: system.id }} label={system.name} />
      <Title order={1}>{t('setup.title', { name: system.name })}</Title>
      <p className={classes.serial}>
        {t('system.serial')} <span className="mono">{groupedSerial(system.serial)}</span>
      </p>
      <div className={classes.columns}>
        <div className={classes.main}>
          <MainPanel system={system} progress={progress} />
        </div>
        <Paper withBorder radius="lg" className={classes.side} component="section" aria-labelledby="steps">
          <Title order={2} id="steps" mb="md">
            {t('setup.progress')}
          </Title>
          <Steps progress={progress} />
        </Paper>
      </div>
    </Container>
  );
}

function MainPanel({ system, progress }: { system: System; progress: Progress }) {
  const { t } = useText();
  const { write } = useRights();
  if (progress.finished) return <Finished system={system} />;
  if (progress.failure) return <Failed system={system} failure={progress.failure} />;
  if (!progress.wantsToken) {
    return (
      <Panel title={t('setup.proving.title')}>
        <p>{t('setup.proving.text')}</p>
      </Panel>
    );
  }
  if (!write) {
    return (
      <Panel title={t('setup.viewer.title')} icon={<IconUserShield size={36} stroke={1.4} />}>
        <p>{t('setup.viewer.text')}</p>
      </Panel>
    );
  }
  return <Token system={system} />;
}

function Token({ system }: { system: System }) {
  const { t } = useText();
  const { data: offer, error, isPending, refetch } = useQuery(offerQuery(system.id));
  if (offer) return <OpenOffer system={system} offer={offer} />;
  if (isPending) return <Skeleton height="24rem" radius="lg" />;
  const { code } = asApiError(error);
  if (code === 'not_creator') {
    return (
      <Panel
        title={t('setup.other.title')}
        icon={<IconUserShield size={36} stroke={1.4} />}
        action={<RenewButton system={system} />}
      >
        <p>{t('setup.other.text')}</p>
      </Panel>
    );
  }
  if (code === 'not_found') return <Expired system={system} />;
  return (
    <Panel
      title={t('failure.title')}
      icon={<IconAlertTriangle size={36} stroke={1.4} />}
      action={<Button onClick={() => void refetch()}>{t('failure.retry')}</Button>}
    >
      <p>{problemText(t, error)}</p>
    </Panel>
  );
}

function OpenOffer({ system, offer }: { system: System; offer: Offer }) {
  const { t } = useText();
  const me = useMe();
  const left = secondsLeft(offer.expires_at, useSecond());
  if (left === 0) return <Expired system={system} />;
  return (
    <>
      <TokenCard offer={offer} seconds={left} renew={<RenewButton system={system} subtle />} />
      <Paper withBorder radius="lg" className={classes.panel} component="section" aria-labelledby="instructions">
        <Title order={2} id="instructions" mb="sm">
          {t('setup.todo.title')}
        </Title>
        <ol className={classes.todo}>
          <li>{t('setup.todo.open')}</li>
          <li>
            {t('setup.todo.compare')}
            <dl className={classes.compare}>
              <div>
                <dt>{t('setup.todo.tenant')}</dt>
                <dd>{me.tenant.legal_name}</dd>
              </div>
              <div>
                <dt>{t('setup.code')}</dt>
                <dd className="mono">{offer.code}</dd>
              </div>
            </dl>
          </li>
          <li>{t('setup.todo.type')}</li>
        </ol>
        <Text size="sm" c="dimmed">
          {t('setup.todo.leave')}
        </Text>
      </Paper>
    </>
  );
}

function Expired({ system }: { system: System }) {
  const { t } = useText();
  return (
    <Panel
      title={t('setup.failure.expired.title')}
      icon={<IconClockX size={36} stroke={1.4} />}
      action={<RenewButton system={system} />}
    >
      <p>{t('setup.failure.expired.text')}</p>
    </Panel>
  );
}

function Failed({ system, failure }: { system: System; failure: SetupFailure }) {
  const { t } = useText();
  const given = useReason(system);
  const known = given && given.reason !== 'other' ? given.reason : undefined;
  return (
    <Panel
      title={t(`setup.failure.${failure}.title`)}
      icon={
        failure === 'expired' ? <IconClockX size={36} stroke={1.4} /> : <IconAlertTriangle size={36} stroke={1.4} />
      }
      action={<RenewButton system={system} />}
    >
      {known ? (
        <>
          <p>{t(`givenBack.${known}.text`)}</p>
          <p>{t(`givenBack.${known}.next`)}</p>
        </>
      ) : (
        <p>{t(`setup.failure.${failure}.text`)}</p>
      )}
      {given?.reason === 'other' && <p>{t('givenBack.other', { word: given.word })}</p>}
    </Panel>
  );
}

function Finished({ system }: { system: System }) {
  const { t } = useText();
  return (
    <Panel
      title={t('setup.done.title', { name: system.name })}
      icon={<IconCircleCheckFilled size={52} className={classes.ok} />}
      action={
        <Group>
          <Button renderRoot={(props) => <Link {...props} to="/systems/$id" params={{ id: system.id }} />}>
            {t('setup.done.open')}
          </Button>
          <Button variant="default" renderRoot={(props) => <Link {...props} to="/add" />}>
            {t('setup.done.another')}
          </Button>
        </Group>
      }
    >
      <p>{t('setup.done.text')}</p>
    </Panel>
  );
}

function RenewButton({ system, subtle = false }: { system: System; subtle?: boolean }) {
  const { t } = useText();
  const { write } = useRights();
  const complain = useComplain();
  const queryClient = useQueryClient();
  const renew = useMutation({
    mutationFn: () =>
      call(
        api.POST('/systems/{id}/offer', {
          params: { path: { id: system.id }, header: { 'Idempotency-Key': idempotencyKey() } },
        }),
      ),
    onSuccess: (offer) => {
      queryClient.setQueryData(offerKey(system.id), offer);
      // The event will say so too, but may be late.
      void refreshSystem(system.id).catch(complain);
    },
    onError: complain,
  });
  if (!write) return null;
  if (subtle) {
    return (
      <Anchor component="button" type="button" size="sm" onClick={() => renew.mutate()} disabled={renew.isPending}>
        {t('setup.renew')}
      </Anchor>
    );
  }
  return (
    <Button onClick={() => renew.mutate()} loading={renew.isPending}>
      {t('setup.renew')}
    </Button>
  );
}

function Panel({
  title,
  icon,
  children,
  action,
}: {
  title: string;
  icon?: ReactNode;
  children: ReactNode;
  action?: ReactNode;
}) {
  return (
    <Paper withBorder radius="lg" className={classes.notice} role="status">
      {icon && <div className={classes.icon}>{icon}</div>}
      <Title order={2} className={classes.title}>
        {title}
      </Title>
      <div className={classes.text}>{children}</div>
      {action && <div className={classes.action}>{action}</div>}
    </Paper>
  );
}
