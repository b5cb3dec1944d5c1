import { Alert, Button, Container, Group, Modal, Paper, Skeleton, Stack, Text, Title } from '@mantine/core';
import { useDisclosure } from '@mantine/hooks';
import { IconRefresh, IconRotateClockwise } from '@tabler/icons-react';
import { useMutation, useQuery, useQueryClient } from '@tanstack/react-query';
import { useParams } from '@tanstack/react-router';
import { useState } from 'react';
import { api, call } from '../api/client';
import { asApiError } from '../api/problem';
import { problemText } from '../api/problemText';
import type { System } from '../api/types';
import { useMay } from '../app/meta';
import { useTitle } from '../app/useTitle';
import { BackLink } from '../components/BackLink';
import { tell, useComplain } from '../components/notify';
import { SystemGate } from '../components/SystemGate';
import { Unread } from '../components/Unread';
import { useText } from '../i18n';
import { Changes, useLabel, useValueText } from './Changes';
import { type Configuration, configurationQuery, type Values, valuesOf } from './queries';
import classes from './Rollout.module.css';
import { SettingInput } from './SettingInput';
import { changesOf, textOf } from './values';

/** The settings of one PBX, read from it and changed there. */
export function SettingsPage() {
  const { id } = useParams({ from: '/shell/systems/$id/settings' });
  return <SystemGate id={id}>{(system) => <Read system={system} />}</SystemGate>;
}

function Read({ system }: { system: System }) {
  const { t } = useText();
  useTitle(`${t('rollout.settings.title')} · ${system.name}`);
  const { data, error, isFetching, refetch } = useQuery(configurationQuery(system.id));
  const write = useMay().some('config.write');
  return (
    <Container size="lg" className={classes.page}>
      <BackLink to="/systems/$id" params={{ id: system.id }} label={system.name} />
      <div className={classes.head}>
        <div>
          <Title order={1}>{t('rollout.settings.title')}</Title>
          <p className={classes.lead}>
            {t('rollout.settings.lead')}
            {data && ` ${t('firmware.runs', { model: data.model, version: data.firmware })}`}
          </p>
        </div>
        <div className={classes.buttons}>
          <Button
            variant="default"
            leftSection={<IconRefresh size={16} />}
            loading={isFetching}
            onClick={() => void refetch()}
          >
            {t('rollout.settings.reload')}
          </Button>
          {write && <RestartButton system={system} />}
        </div>
      </div>
      {error && !isFetching && (
        <Alert color="red" role="alert">
          {problemText(t, error)}
        </Alert>
      )}
      {!data && isFetching && <Skeleton height={320} radius="lg" />}
      {data && <Form key={data.version} system={system} configuration={data} write={write} />}
    </Container>
  );
}

interface Conflict {
  /** What the PBX has now. */
  now: Configuration;
  keys: string[];
}

function Form({ system, configuration, write }: { system: System; configuration: Configuration; write: boolean }) {
  const { t } = useText();
  const label = useLabel();
  const queryClient = useQueryClient();
  const { schema } = configuration;
  const before = valuesOf(configuration.settings);
  const [texts, setTexts] = useState<Record<string, string>>({});
  const [conflict, setConflict] = useState<Conflict>();
  const { values, bad } = changesOf(schema, before, texts);
  const keys = Object.keys(values);

  // What there is now, after somebody else was faster.
  const again = useMutation({
    mutationFn: () =>
      queryClient.fetchQuery({
        ...configurationQuery(system.id),
        queryKey: ['configuration', system.id, 'now'],
        staleTime: 0,
      }),
    onSuccess: (now) => {
      const theirs = valuesOf(now.settings);
      setConflict({ now, keys: schema.map((s) => s.key).filter((key) => textOf(theirs[key]) !== textOf(before[key])) });
    },
  });
  const send = useMutation({
    mutationFn: ({ dryRun, version }: { dryRun: boolean; version: string }) =>
      call(
        api.PATCH('/systems/{id}/configuration', {
          params: {
            path: { id: system.id },
            query: { dry_run: dryRun },
            header: { 'If-Match': `"${version}"` },
          },
          body: { settings: values, base: Object.fromEntries(keys.map((key) => [key, before[key]])) },
        }),
      ),
    onError: (thrown) => {
      if (asApiError(thrown).code === 'version') again.mutate();
    },
    onSuccess: async (done) => {
      if (done.dry_run) return;
      tell(t('rollout.settings.saved'));
      setTexts({});
      await queryClient.refetchQueries({ queryKey: ['configuration', system.id] });
    },
  });
  const shown = send.data?.dry_run ? send.data : undefined;
  const error = send.error ? asApiError(send.error) : undefined;
  const set = (key: string, text: string) => {
    send.reset();
    again.reset();
    setTexts({ ...texts, [key]: text });
  };
  const fault = (key: string) => {
    if (bad.includes(key)) return t('rollout.settings.bad');
    return error?.fields.find((f) => f.location === `body.settings.${key}`)?.message;
  };
  return (
    <Paper withBorder radius="lg" className={classes.card} component="section">
      <form
        onSubmit={(e) => {
          e.preventDefault();
          send.mutate({ dryRun: true, version: configuration.version });
        }}
      >
        <div className={classes.settings}>
          {schema.map((setting) => (
            <SettingInput
              key={setting.key}
              setting={setting}
              disabled={!write}
              value={texts[setting.key] ?? textOf(before[setting.key])}
              error={fault(setting.key)}
              onChange={(text) => set(setting.key, text)}
            />
          ))}
        </div>
        {error && error.code !== 'version' && (
          <Alert color="red" role="alert" mt="md">
            {problemText(t, error)}
          </Alert>
        )}
        {error?.code === 'version' && again.error && (
          <Unread error={again.error} busy={again.isPending} onRetry={() => again.mutate()} />
        )}
        {conflict && (
          <ConflictView
            conflict={conflict}
            before={before}
            values={values}
            label={(key) => label(key, schema)}
            onTake={() => queryClient.setQueryData(configurationQuery(system.id).queryKey, conflict.now)}
            onKeep={() => {
              setConflict(undefined);
              send.mutate({ dryRun: false, version: conflict.now.version });
            }}
          />
        )}
        {shown && !conflict && (
          <Stack mt="lg" gap="sm">
            <Title order={2}>{t('rollout.settings.preview')}</Title>
            <Changes changes={shown.changes} schema={schema} />
            {shown.restart_needed && <Text size="sm">{t('rollout.settings.restartHint')}</Text>}
          </Stack>
        )}
        {write && !conflict && (
          <Group mt="lg">
            {shown ? (
              <Button
                loading={send.isPending}
                onClick={() => send.mutate({ dryRun: false, version: configuration.version })}
              >
                {t('rollout.settings.save')}
              </Button>
            ) : (
              <Button
                type="submit"
                loading={send.isPending || again.isPending}
                disabled={keys.length === 0 || bad.length > 0}
              >
                {t('rollout.settings.check')}
              </Button>
            )}
            <Button
              variant="default"
              disabled={Object.keys(texts).length === 0}
              onClick={() => {
                setTexts({});
                send.reset();
              }}
            >
              {t('common.cancel')}
            </Button>
          </Group>
        )}
      </form>
    </Paper>
  );
}

function ConflictView({
  conflict,
  before,
  values,
  label,
  onTake,
  onKeep,
}: {
  conflict: Conflict;
  before: Values;
  values: Values;
  label(key: string): string;
  onTake(): void;
  onKeep(): void;
}) {
  const { t } = useText();
  const text = useValueText();
  const theirs = valuesOf(conflict.now.settings);
  return (
    <Alert color="yellow" mt="lg" role="alert" title={t('rollout.conflict.title')}>
      <Stack gap="sm">
        <Text size="sm">{t('rollout.conflict.text')}</Text>
        <ul>
          {conflict.keys.map((key) => (
            <li key={key}>
              {t('rollout.conflict.line', {
                name: label(key),
                before: text(before[key]),
                now: text(theirs[key]),
              })}
              {values[key] !== undefined && ` ${t('rollout.conflict.mine', { value: text(values[key]) })}`}
            </li>
          ))}
        </ul>
        <Group>
          <Button variant="default" onClick={onTake}>
            {t('rollout.conflict.take')}
          </Button>
          <Button variant="default" onClick={onKeep}>
            {t('rollout.conflict.keep')}
          </Button>
        </Group>
      </Stack>
    </Alert>
  );
}

function RestartButton({ system }: { system: System }) {
  const { t } = useText();
  const complain = useComplain();
  const [opened, { open, close }] = useDisclosure(false);
  const restart = useMutation({
    mutationFn: () => call(api.POST('/systems/{id}/restart', { params: { path: { id: system.id } } })),
    onSuccess: () => {
      tell(t('rollout.restart.done'));
      close();
    },
    onError: complain,
  });
  return (
    <>
      <Button variant="default" leftSection={<IconRotateClockwise size={16} />} onClick={open}>
        {t('rollout.restart.button')}
      </Button>
      <Modal
        opened={opened}
        onClose={close}
        title={t('rollout.restart.title', { name: system.name })}
        closeButtonProps={{ 'aria-label': t('common.close') }}
      >
        <Stack>
          <Text>{t('rollout.restart.text')}</Text>
          <Group justify="flex-end">
            <Button variant="default" onClick={close}>
              {t('common.cancel')}
            </Button>
            <Button color="red" loading={restart.isPending} onClick={() => restart.mutate()} data-autofocus>
              {t('rollout.restart.button')}
            </Button>
          </Group>
        </Stack>
      </Modal>
    </>
  );
}
