import {
  Alert,
  Anchor,
  Button,
  Container,
  Group,
  Modal,
  NativeSelect,
  Paper,
  Skeleton,
  Stack,
  Table,
  Text,
  Title,
} from '@mantine/core';
import { useInfiniteQuery, useMutation, useQuery, useQueryClient } from '@tanstack/react-query';
import { Link, useParams } from '@tanstack/react-router';
import { useRef, useState } from 'react';
import { api, call } from '../api/client';
import { problemText } from '../api/problemText';
import { useMay } from '../app/meta';
import { useTitle } from '../app/useTitle';
import { BackLink } from '../components/BackLink';
import { useComplain } from '../components/notify';
import { useText } from '../i18n';
import { groupedSerial } from '../serial';
import { dateTime } from '../time/format';
import { Changes } from './Changes';
import { type Action, devicesQuery, diffsQuery, type Rollout, rolloutQuery, useRolloutsLive } from './queries';
import { Rings } from './Rings';
import classes from './Rollout.module.css';
import { DeviceState, RolloutState } from './State';
import { countOf } from './values';

/** One rollout, as it proceeds. */
export function RolloutPage() {
  const { id } = useParams({ from: '/shell/rollouts/$id' });
  const { t, language } = useText();
  useRolloutsLive();
  const { data: rollout, error } = useQuery(rolloutQuery(id));
  useTitle(rollout?.name ?? t('rollout.title'));
  return (
    <Container size="xl" className={classes.page}>
      <BackLink to="/rollouts" label={t('rollout.title')} />
      {error && !rollout && (
        <Alert color="red" role="alert">
          {problemText(t, error)}
        </Alert>
      )}
      {!rollout && !error && <Skeleton height={240} radius="lg" />}
      {rollout && (
        <>
          <div className={classes.head}>
            <div>
              <Title order={1}>{rollout.name}</Title>
              <p className={classes.lead} aria-live="polite">
                {t(`rollout.kind.${rollout.kind}`)} · <RolloutState rollout={rollout} />
              </p>
            </div>
            <Actions rollout={rollout} />
          </div>
          {rollout.not_before && rollout.state === 'running' && Date.parse(rollout.not_before) > Date.now() && (
            <Text size="sm">{t('rollout.notBefore', { time: dateTime(rollout.not_before, language) })}</Text>
          )}
          {rollout.plan.window && <Text size="sm">{t('rollout.plan.window.text', rollout.plan.window)}</Text>}
          <Paper withBorder radius="lg" className={classes.card} component="section">
            <Title order={2} mb="md">
              {t('rollout.rings')}
            </Title>
            <Rings rollout={rollout} />
          </Paper>
          {rollout.firmware && (
            <Text mt="md">
              {t('firmware.image')}: {rollout.firmware.model} {rollout.firmware.version}
            </Text>
          )}
          {rollout.kind !== 'restart' && <Diffs rollout={rollout} />}
          <Devices rollout={rollout} />
        </>
      )}
    </Container>
  );
}

/** What can be done in which state. */
const actions: Record<Rollout['state'], readonly Action[]> = {
  checking: ['stop'],
  ready: ['start', 'check', 'stop'],
  running: ['pause', 'stop'],
  paused: ['resume', 'stop', 'rollback'],
  halted: ['resume', 'stop', 'rollback'],
  stopped: ['rollback'],
  done: ['rollback'],
  reverting: [],
  reverted: ['rollback'], // those that were away
};

/** What is asked about before. */
const serious: readonly Action[] = ['start', 'stop', 'rollback'];

function Actions({ rollout }: { rollout: Rollout }) {
  const { t } = useText();
  const complain = useComplain();
  const queryClient = useQueryClient();
  const may = useMay();
  const [asked, ask] = useState<Action>();
  // What is asked is still to be read while the dialog closes.
  const last = useRef<Action>('start');
  if (asked) last.current = asked;
  const control = useMutation({
    mutationFn: (action: Action) =>
      call(api.POST('/rollouts/{id}/control', { params: { path: { id: rollout.id } }, body: { action } })),
    onSuccess: (now) => {
      queryClient.setQueryData(rolloutQuery(rollout.id).queryKey, now);
      ask(undefined);
    },
    onError: complain,
  });
  if (!may.some('config.write')) return null;
  const able = actions[rollout.state].filter(
    (action) =>
      action !== 'rollback' ||
      (rollout.kind !== 'restart' &&
        rollout.started_at !== undefined &&
        (rollout.state !== 'reverted' || rollout.reason === 'deadline')),
  );
  return (
    <div className={classes.buttons}>
      {able.map((action, i) => (
        <Button
          key={action}
          variant={i === 0 && action !== 'rollback' && action !== 'stop' ? 'filled' : 'default'}
          loading={control.isPending && control.variables === action}
          onClick={() => (serious.includes(action) ? ask(action) : control.mutate(action))}
        >
          {t(`rollout.action.${action}`)}
        </Button>
      ))}
      <Modal
        opened={asked !== undefined}
        onClose={() => ask(undefined)}
        title={t(`rollout.action.${last.current}`)}
        closeButtonProps={{ 'aria-label': t('common.close') }}
      >
        {asked && (
          <Stack>
            <Text>
              {asked === 'start' && t('rollout.confirm.start', { count: countOf(rollout.rings, 'pending', 'offline') })}
              {asked === 'stop' && t('rollout.confirm.stop')}
              {asked === 'rollback' &&
                t(rollout.kind === 'firmware' ? 'rollout.confirm.rollbackFirmware' : 'rollout.confirm.rollback')}
            </Text>
            <Group justify="flex-end">
              <Button variant="default" onClick={() => ask(undefined)}>
                {t('common.cancel')}
              </Button>
              <Button
                color={asked === 'start' ? undefined : 'red'}
                loading={control.isPending}
                onClick={() => control.mutate(asked)}
                data-autofocus
              >
                {t(`rollout.action.${asked}`)}
              </Button>
            </Group>
          </Stack>
        )}
      </Modal>
    </div>
  );
}

/** What changes, grouped by what is the same at several PBXs. */
function Diffs({ rollout }: { rollout: Rollout }) {
  const { t } = useText();
  const { data } = useQuery(diffsQuery(rollout.id));
  if (!data) return null;
  return (
    <Paper withBorder radius="lg" className={classes.card} component="section">
      <Title order={2} mb="md">
        {t('rollout.diffs')}
      </Title>
      {data.length === 0 && <Text c="dimmed">{t('rollout.noDiffs')}</Text>}
      <Stack>
        {data.map((diff) => (
          <div key={diff.diff}>
            <strong>{t('rollout.atSystems', { count: diff.systems })}</strong>
            {diff.restart_needed && <span className={classes.muted}> · {t('rollout.restartNeeded')}</span>}
            <Changes changes={diff.changes} />
          </div>
        ))}
      </Stack>
    </Paper>
  );
}

const filters = {
  all: [],
  bad: ['failed', 'refused', 'conflict'],
  open: ['pending', 'running', 'offline'],
} as const satisfies Record<string, readonly string[]>;

function Devices({ rollout }: { rollout: Rollout }) {
  const { t, language } = useText();
  const [filter, setFilter] = useState<keyof typeof filters>('all');
  const { data, hasNextPage, fetchNextPage, isFetchingNextPage } = useInfiniteQuery(
    devicesQuery(rollout.id, [...filters[filter]]),
  );
  const items = data?.pages.flatMap((page) => page.items) ?? [];
  return (
    <Paper withBorder radius="lg" className={classes.card} component="section">
      <div className={classes.head}>
        <Title order={2}>{t('rollout.systems')}</Title>
        <NativeSelect
          aria-label={t('rollout.stateLabel')}
          value={filter}
          data={[
            { value: 'all', label: t('rollout.filter.all') },
            { value: 'bad', label: t('rollout.filter.bad') },
            { value: 'open', label: t('rollout.filter.open') },
          ]}
          onChange={(e) => {
            const value = e.currentTarget.value;
            setFilter(value === 'bad' || value === 'open' ? value : 'all');
          }}
        />
      </div>
      {data && items.length === 0 && <Text c="dimmed">{t('rollout.noSystems')}</Text>}
      {items.length > 0 && (
        // biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls can be scrolled by keyboard
        <section className={classes.table} aria-label={t('rollout.systems')} tabIndex={0}>
          <Table verticalSpacing="xs">
            <Table.Thead>
              <Table.Tr>
                <Table.Th>{t('column.name')}</Table.Th>
                <Table.Th>{t('rollout.ringLabel')}</Table.Th>
                <Table.Th>{t('rollout.stateLabel')}</Table.Th>
                <Table.Th>{t('rollout.changed')}</Table.Th>
              </Table.Tr>
            </Table.Thead>
            <Table.Tbody>
              {items.map((device) => (
                <Table.Tr key={device.system_id}>
                  <Table.Td>
                    <Anchor
                      renderRoot={(props) => <Link {...props} to="/systems/$id" params={{ id: device.system_id }} />}
                    >
                      {device.name}
                    </Anchor>
                    <small className="mono">{groupedSerial(device.serial)}</small>
                  </Table.Td>
                  <Table.Td>{device.ring + 1}</Table.Td>
                  <Table.Td>
                    <DeviceState device={device} />
                  </Table.Td>
                  <Table.Td>
                    <time dateTime={device.changed_at}>{dateTime(device.changed_at, language)}</time>
                  </Table.Td>
                </Table.Tr>
              ))}
            </Table.Tbody>
          </Table>
        </section>
      )}
      {hasNextPage && (
        <Button
          variant="subtle"
          size="compact-sm"
          mt="sm"
          loading={isFetchingNextPage}
          onClick={() => void fetchNextPage()}
        >
          {t('timeline.more')}
        </Button>
      )}
    </Paper>
  );
}
