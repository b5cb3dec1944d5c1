import { Alert, Button, Group, Modal, Stack, Text, TextInput } from '@mantine/core';
import { useDisclosure } from '@mantine/hooks';
import { useMutation, useQuery } from '@tanstack/react-query';
import { Link } from '@tanstack/react-router';
import { useState } from 'react';
import { api, call } from '../api/client';
import { problemText } from '../api/problemText';
import type { System } from '../api/types';
import { useMay } from '../app/meta';
import { tell } from '../components/notify';
import { fleet } from '../fleet/store';
import { useText } from '../i18n';
import { configurationQuery } from '../rollout/queries';
import { useHalfMinute } from '../time/clock';
import { localeOf } from '../time/format';
import { dayOf, endOfDay } from './day';
import { useBringsFirmware } from './queries';

/** Until when a system's maintenance is paid, and the way to new firmware. */
export function Maintenance({ system }: { system: System }) {
  const { t, language } = useText();
  const may = useMay().some('licences.write');
  const brings = useBringsFirmware();
  const now = useHalfMinute();
  const [opened, { open, close }] = useDisclosure(false);
  const until = system.maintenance_until;
  const date = until && new Intl.DateTimeFormat(localeOf(language), { dateStyle: 'long' }).format(Date.parse(until));
  return (
    <Stack gap="sm">
      <Text>
        {date === undefined
          ? t('firmware.maintenance.none')
          : t(Date.parse(until ?? '') > now ? 'firmware.maintenance.until' : 'firmware.maintenance.over', { date })}
      </Text>
      <Runs system={system} />
      <Group gap="xs">
        {may && (
          <Button variant="default" size="compact-sm" onClick={open}>
            {t('firmware.maintenance.edit')}
          </Button>
        )}
        {brings && (
          <Button
            variant="default"
            size="compact-sm"
            renderRoot={(props) => (
              <Link {...props} to="/rollouts/new" search={{ kind: 'firmware', system: system.id }} />
            )}
          >
            {t('firmware.maintenance.update')}
          </Button>
        )}
      </Group>
      <Modal
        opened={opened}
        onClose={close}
        title={t('firmware.maintenance.edit')}
        closeButtonProps={{ 'aria-label': t('common.close') }}
      >
        <Form system={system} onClose={close} />
      </Modal>
    </Stack>
  );
}

/** Which firmware runs, as the PBX says once somebody wants to know: it is asked for that. */
function Runs({ system }: { system: System }) {
  const { t } = useText();
  const may = useMay().some('config.read');
  const { data, error, isFetching, refetch } = useQuery({ ...configurationQuery(system.id), enabled: false });
  if (!may || !system.online) return null;
  if (data) return <Text>{t('firmware.runs', { model: data.model, version: data.firmware })}</Text>;
  return (
    <div>
      <Button variant="default" size="compact-sm" loading={isFetching} onClick={() => void refetch()}>
        {t('firmware.ask')}
      </Button>
      {error && !isFetching && (
        <Text size="sm" c="red" role="alert" mt={4}>
          {problemText(t, error)}
        </Text>
      )}
    </div>
  );
}

function Form({ system, onClose }: { system: System; onClose(): void }) {
  const { t } = useText();
  const [day, setDay] = useState(dayOf(system.maintenance_until));
  const save = useMutation({
    mutationFn: () =>
      call(
        api.PUT('/systems/{id}/maintenance', {
          params: { path: { id: system.id } },
          body: day ? { until: endOfDay(day) } : {},
        }),
      ),
    onSuccess: (changed) => {
      fleet.put(changed);
      tell(t('firmware.maintenance.saved'));
      onClose();
    },
  });
  return (
    <form
      onSubmit={(e) => {
        e.preventDefault();
        save.mutate();
      }}
    >
      <Stack>
        {save.error && (
          <Alert color="red" role="alert">
            {problemText(t, save.error)}
          </Alert>
        )}
        <TextInput
          type="date"
          label={t('firmware.maintenance.label')}
          description={t('firmware.maintenance.hint')}
          data-autofocus
          value={day}
          onChange={(e) => setDay(e.currentTarget.value)}
        />
        <Text size="sm" c="dimmed">
          {t('firmware.maintenance.needs')}
        </Text>
        <Group justify="flex-end">
          <Button variant="default" onClick={onClose}>
            {t('common.cancel')}
          </Button>
          <Button type="submit" loading={save.isPending}>
            {t('common.save')}
          </Button>
        </Group>
      </Stack>
    </form>
  );
}
