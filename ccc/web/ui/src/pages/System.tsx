import { ActionIcon, Button, Container, Group, Menu, Paper, Text, Title } from '@mantine/core';
import { useDisclosure } from '@mantine/hooks';
import {
  IconArrowsExchange,
  IconBuildingCommunity,
  IconDots,
  IconPencil,
  IconSettings,
  IconTrash,
} from '@tabler/icons-react';
import { Link, useNavigate, useParams } from '@tanstack/react-router';
import { type ReactNode, useState } from 'react';
import type { System } from '../api/types';
import { useMay, useRights } from '../app/meta';
import { useTitle } from '../app/useTitle';
import { BackLink } from '../components/BackLink';
import { Labels } from '../components/Labels';
import { Since } from '../components/Since';
import { StatusDot, useStatusText } from '../components/StatusText';
import { SystemGate } from '../components/SystemGate';
import { Maintenance } from '../firmware/Maintenance';
import { kindOfStatus, statusOf, statusSince } from '../fleet/status';
import { useSystem } from '../fleet/store';
import { HistoryCard } from '../history/HistoryCard';
import { reasonOf } from '../history/reason';
import { useHistoryRight } from '../history/rights';
import { useText } from '../i18n';
import { HandoverModal } from '../organisation/HandoverModal';
import { usePartName } from '../organisation/Part';
import { RemoteCard } from '../remote/RemoteCard';
import { useRemoteRights } from '../remote/rights';
import { groupedSerial } from '../serial';
import { useReason } from '../setup/history';
import { dateTime, milliseconds } from '../time/format';
import { EditForm } from './EditForm';
import { RemoveModal } from './RemoveModal';
import { ReplaceModal } from './ReplaceModal';
import classes from './System.module.css';
import { Timeline } from './Timeline';

/** All about one system. */
export function SystemPage() {
  const { id } = useParams({ from: '/shell/systems/$id' });
  const [removed, setRemoved] = useState(false);
  const navigate = useNavigate();
  const onRemoved = () => {
    setRemoved(true);
    void navigate({ to: '/' });
  };
  if (removed) return null;
  return <SystemGate id={id}>{(system) => <Details system={system} onRemoved={onRemoved} />}</SystemGate>;
}

function Details({ system, onRemoved }: { system: System; onRemoved(): void }) {
  const { t } = useText();
  const { write, remove } = useRights();
  const handOver = useMay().whole('system.handover');
  const configure = useMay().some('config.read');
  const remote = useRemoteRights();
  const history = useHistoryRight();
  const [editing, edit] = useDisclosure(false);
  const [removing, removal] = useDisclosure(false);
  const [replacing, replacement] = useDisclosure(false);
  const [handing, handover] = useDisclosure(false);
  const statusText = useStatusText(system);
  useTitle(system.name);
  const paired = system.state === 'paired';
  return (
    <Container size="lg" className={classes.page}>
      <BackLink to="/" label={t('fleet.title')} />
      <div className={classes.head}>
        <StatusDot system={system} size="lg" />
        <div className={classes.title}>
          <Title order={1}>{system.name}</Title>
          <p className={classes.sub}>
            <span className={classes.status} data-kind={kindOfStatus(statusOf(system))}>
              {statusText}
            </span>{' '}
            <Since at={statusSince(system)} />
          </p>
        </div>
        {paired && configure && (
          <Button
            variant="default"
            leftSection={<IconSettings size={16} />}
            renderRoot={(props) => <Link {...props} to="/systems/$id/settings" params={{ id: system.id }} />}
          >
            {t('rollout.settings.title')}
          </Button>
        )}
        {write && (
          <Group gap="xs" wrap="nowrap" className={classes.actions}>
            <Button variant="default" leftSection={<IconPencil size={16} />} onClick={edit.open} disabled={editing}>
              {t('system.edit')}
            </Button>
            <Menu position="bottom-end">
              <Menu.Target>
                <ActionIcon variant="default" size={36} aria-label={t('system.more')}>
                  <IconDots size={18} />
                </ActionIcon>
              </Menu.Target>
              <Menu.Dropdown>
                <Menu.Item leftSection={<IconArrowsExchange size={16} />} onClick={replacement.open}>
                  {t('replace.button')}
                </Menu.Item>
                {handOver && (
                  <Menu.Item leftSection={<IconBuildingCommunity size={16} />} onClick={handover.open}>
                    {t('organisation.handover.button')}
                  </Menu.Item>
                )}
                {remove && (
                  <Menu.Item color="red" leftSection={<IconTrash size={16} />} onClick={removal.open}>
                    {t('remove.button')}
                  </Menu.Item>
                )}
              </Menu.Dropdown>
            </Menu>
          </Group>
        )}
      </div>

      {!paired && <SetupHint system={system} />}
      {system.replaces && <ReplacesHint id={system.replaces} />}

      <div className={classes.columns}>
        <div className={classes.column}>
          {paired && <Connection system={system} />}
          {paired && history && (
            <Card title={t('history.title')}>
              <HistoryCard system={system} />
            </Card>
          )}
          {paired && remote.read && (
            <Card title={t('remote.title')}>
              <RemoteCard system={system} />
            </Card>
          )}
          <Card title={t('system.details')}>
            {editing ? (
              <EditForm system={system} onClose={edit.close} />
            ) : (
              <Facts>
                <Fact label={t('organisation.sites.site')}>
                  <SiteName id={system.site_id} />
                </Fact>
                <Fact label={t('system.groups')}>
                  {system.groups.length > 0 ? <Labels system={{ ...system, tags: [] }} /> : <None />}
                </Fact>
                <Fact label={t('system.tags')}>
                  {system.tags.length > 0 ? <Labels system={{ ...system, groups: [] }} /> : <None />}
                </Fact>
                <Fact label={t('system.note')}>
                  {system.note ? <span className={classes.note}>{system.note}</span> : <None />}
                </Fact>
              </Facts>
            )}
          </Card>
          {paired && (
            <Card title={t('firmware.maintenance.title')}>
              <Maintenance system={system} />
            </Card>
          )}
          <Card title={t('system.device')}>
            <DeviceFacts system={system} />
          </Card>
        </div>
        <Card title={t('timeline.title')}>
          <Timeline system={system} />
        </Card>
      </div>

      <RemoveModal system={system} opened={removing} onClose={removal.close} onRemoved={onRemoved} />
      <HandoverModal system={system} opened={handing} onClose={handover.close} />
      <ReplaceModal system={system} opened={replacing} onClose={replacement.close} />
    </Container>
  );
}

function SiteName({ id }: { id: string | undefined }) {
  const partName = usePartName();
  return id ? partName({ site_id: id }) : <None />;
}

function SetupHint({ system }: { system: System }) {
  const { t } = useText();
  const { write } = useRights();
  const status = statusOf(system);
  const given = useReason(system);
  const known = given && given.reason !== 'other' ? given.reason : undefined;
  if (status === 'online' || status === 'offline' || status === 'quarantined') return null;
  const waiting = status === 'waiting' || status === 'received' || status === 'proving';
  return (
    <Paper withBorder radius="lg" className={classes.hint} data-kind={kindOfStatus(status)}>
      <div>
        <Text fw={600}>
          {known
            ? t(`givenBack.${known}.text`)
            : status === 'error'
              ? t(`hint.error_${system.error_code ?? 'auth'}`)
              : t(`hint.${status}`)}
        </Text>
        <Text size="sm" c="dimmed">
          {given?.reason === 'other' && `${t('givenBack.other', { word: given.word })} `}
          {known ? t(`givenBack.${known}.next`) : waiting ? t('hint.waitingMore') : t('hint.againMore')}
        </Text>
      </div>
      {write && (
        <Button renderRoot={(props) => <Link {...props} to="/systems/$id/setup" params={{ id: system.id }} />}>
          {waiting ? t('hint.continue') : t('hint.again')}
        </Button>
      )}
    </Paper>
  );
}

function ReplacesHint({ id }: { id: string }) {
  const { t } = useText();
  const old = useSystem(id);
  if (!old) return null;
  return (
    <Text size="sm" c="dimmed" mb="md">
      {t('replace.pending', { name: old.name, serial: groupedSerial(old.serial) })}
    </Text>
  );
}

function Connection({ system }: { system: System }) {
  const { t, language } = useText();
  const since = statusSince(system);
  const statusText = useStatusText(system);
  return (
    <Card title={t('connection.title')}>
      <div className={classes.tiles}>
        <Tile label={t('connection.state')}>
          {statusText}
          <small>
            <Since at={since} />
          </small>
        </Tile>
        <Tile label={t('connection.transport')}>
          {system.online && system.transport ? { quic: 'QUIC', tcp: 'TCP' }[system.transport] : '–'}
          <small>{system.online && system.transport ? t(`connection.${system.transport}`) : ''}</small>
        </Tile>
        <Tile label={t('connection.rtt')}>
          {system.online && system.rtt_ms !== undefined ? milliseconds(system.rtt_ms, language) : '–'}
          <small>{system.online ? t('connection.rttHint') : ''}</small>
        </Tile>
      </div>
      {!system.online && <WhyOffline system={system} />}
    </Card>
  );
}

/** Why the system is offline, and what to do about it. */
function WhyOffline({ system }: { system: System }) {
  const { t } = useText();
  const reason = reasonOf(system);
  if (!reason) {
    return (
      <Text size="sm" c="dimmed" mt="md">
        {t('connection.offlineHint')}
      </Text>
    );
  }
  return (
    <div className={classes.why} data-kind={kindOfStatus(statusOf(system))}>
      <Text fw={600}>{t(`history.reason.${reason}`)}</Text>
      <Text size="sm">
        {t(`history.hint.${reason}`)} {reason === 'lost' && t('history.provisional')}
      </Text>
    </div>
  );
}

function DeviceFacts({ system }: { system: System }) {
  const { t, language } = useText();
  return (
    <Facts>
      <Fact label={t('system.serial')}>
        <span className="mono">{groupedSerial(system.serial)}</span>
      </Fact>
      <Fact label={t('system.created')}>{dateTime(system.created_at, language)}</Fact>
      <Fact label={t('system.paired')}>{system.paired_at ? dateTime(system.paired_at, language) : <None />}</Fact>
      {!system.online && system.last_seen_at && (
        <Fact label={t('system.lastSeen')}>{dateTime(system.last_seen_at, language)}</Fact>
      )}
      {system.epoch !== '0' && <Fact label={t('system.epoch')}>{system.epoch}</Fact>}
    </Facts>
  );
}

function Card({ title, children }: { title: string; children: ReactNode }) {
  return (
    <Paper withBorder radius="lg" className={classes.card} component="section">
      <Title order={2} mb="md">
        {title}
      </Title>
      {children}
    </Paper>
  );
}

function Tile({ label, children }: { label: string; children: ReactNode }) {
  return (
    <div className={classes.tile}>
      <div className={classes.tileLabel}>{label}</div>
      <div className={classes.tileValue}>{children}</div>
    </div>
  );
}

const Facts = ({ children }: { children: ReactNode }) => <dl className={classes.facts}>{children}</dl>;

const Fact = ({ label, children }: { label: string; children: ReactNode }) => (
  <div className={classes.fact}>
    <dt>{label}</dt>
    <dd>{children}</dd>
  </div>
);

const None = () => <span className={classes.none}>–</span>;
