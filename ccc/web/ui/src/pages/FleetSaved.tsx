import { ActionIcon, Button, Checkbox, Group, Menu, Modal, Stack, Text, TextInput } from '@mantine/core';
import { IconBookmark, IconCheck, IconReplace, IconStar, IconStarFilled, IconTrash } from '@tabler/icons-react';
import { useMutation, useQuery, useQueryClient } from '@tanstack/react-query';
import { type FormEvent, useState } from 'react';
import { api, call, idempotencyKey } from '../api/client';
import { filtersQuery } from '../api/filters';
import { asApiError } from '../api/problem';
import { problemText } from '../api/problemText';
import type { SavedFilter } from '../api/types';
import { useMay } from '../app/meta';
import { tell, useComplain } from '../components/notify';
import { useText } from '../i18n';
import classes from './FleetFilters.module.css';
import type { FleetSearch } from './fleetSearch';
import { fieldsOf, searchOf } from './savedSearch';

type Props = {
  search: FleetSearch;
  onPick(search: FleetSearch): void;
};

/** The filters that somebody has kept: to pick one, to keep the present one, to tidy up. */
export function FleetSaved({ search, onPick }: Props) {
  const { t } = useText();
  const { data: filters = [] } = useQuery(filtersQuery);
  const [open, setOpen] = useState<'save' | 'manage' | null>(null);
  const part = (shared: boolean) => {
    const some = filters.filter((f) => f.shared === shared);
    if (some.length === 0) return null;
    return (
      <>
        <Menu.Label>{t(shared ? 'onboarding.saved.shared' : 'onboarding.saved.own')}</Menu.Label>
        {some.map((f) => (
          <Menu.Item
            key={f.id}
            leftSection={f.default ? <IconStarFilled size={15} /> : <IconBookmark size={15} />}
            onClick={() => onPick(searchOf(f.filter))}
          >
            {f.name}
          </Menu.Item>
        ))}
      </>
    );
  };
  return (
    <>
      <Menu position="bottom-start" width={260} shadow="md">
        <Menu.Target>
          <Button
            variant="default"
            className={classes.button}
            leftSection={<IconBookmark size={17} />}
            aria-label={t('onboarding.saved.button')}
          >
            <span className={classes.word}>{t('onboarding.saved.button')}</span>
          </Button>
        </Menu.Target>
        <Menu.Dropdown>
          {part(false)}
          {part(true)}
          {filters.length === 0 && <Menu.Label>{t('onboarding.saved.none')}</Menu.Label>}
          <Menu.Divider />
          <Menu.Item onClick={() => setOpen('save')}>{t('onboarding.saved.save')}</Menu.Item>
          {filters.length > 0 && (
            <Menu.Item onClick={() => setOpen('manage')}>{t('onboarding.saved.manage')}</Menu.Item>
          )}
        </Menu.Dropdown>
      </Menu>
      <Modal
        opened={open !== null}
        onClose={() => setOpen(null)}
        title={t('onboarding.saved.title')}
        closeButtonProps={{ 'aria-label': t('common.close') }}
      >
        {open === 'save' && <Save search={search} onDone={() => setOpen(null)} />}
        {open === 'manage' && <Manage filters={filters} search={search} />}
      </Modal>
    </>
  );
}

const setDefault = (id: string) => call(api.PUT('/default-filter', { body: { filter_id: id } }));

function Save({ search, onDone }: { search: FleetSearch; onDone(): void }) {
  const { t } = useText();
  const { whole } = useMay();
  const queryClient = useQueryClient();
  const [name, setName] = useState('');
  const [shared, setShared] = useState(false);
  const [first, setFirst] = useState(false);
  const save = useMutation({
    mutationFn: async () => {
      const header = { 'Idempotency-Key': idempotencyKey() };
      const body = { name: name.trim(), shared, filter: fieldsOf(search) };
      const made = await call(api.POST('/filters', { params: { header }, body }));
      if (first) await setDefault(made.id);
    },
    onSuccess: () => {
      tell(t('onboarding.saved.done'));
      onDone();
    },
    onSettled: () => queryClient.invalidateQueries(filtersQuery),
  });
  const submit = (e: FormEvent) => {
    e.preventDefault();
    if (name.trim()) save.mutate();
  };
  const taken = save.error && asApiError(save.error).code === 'conflict';
  return (
    <form onSubmit={submit}>
      <Stack>
        <TextInput
          label={t('onboarding.saved.name')}
          data-autofocus
          maxLength={60}
          value={name}
          onChange={(e) => setName(e.currentTarget.value)}
          error={save.error && (taken ? t('onboarding.saved.exists') : problemText(t, save.error))}
        />
        {whole('users.manage') && (
          <Checkbox
            label={t('onboarding.saved.share')}
            checked={shared}
            onChange={(e) => setShared(e.currentTarget.checked)}
          />
        )}
        <Checkbox
          label={t('onboarding.saved.first')}
          checked={first}
          onChange={(e) => setFirst(e.currentTarget.checked)}
        />
        <Group justify="flex-end">
          <Button type="submit" loading={save.isPending} disabled={!name.trim()}>
            {t('onboarding.saved.keep')}
          </Button>
        </Group>
      </Stack>
    </form>
  );
}

function Manage({ filters, search }: { filters: readonly SavedFilter[]; search: FleetSearch }) {
  const { t } = useText();
  if (filters.length === 0) return <Text c="dimmed">{t('onboarding.saved.none')}</Text>;
  return (
    <Stack gap="xs">
      {filters.map((f) => (
        <Kept key={f.id} filter={f} search={search} />
      ))}
    </Stack>
  );
}

function Kept({ filter: f, search }: { filter: SavedFilter; search: FleetSearch }) {
  const { t } = useText();
  const { whole } = useMay();
  const complain = useComplain();
  const queryClient = useQueryClient();
  const [name, setName] = useState(f.name);
  const run = useMutation({
    mutationFn: (change: () => Promise<unknown>) => change(),
    onError: complain,
    onSettled: () => queryClient.invalidateQueries(filtersQuery),
  });
  const path = { params: { path: { id: f.id } } };
  const put = (body: { name: string; filter: SavedFilter['filter'] }) =>
    run.mutate(() => call(api.PUT('/filters/{id}', { ...path, body })));
  const may = !f.shared || whole('users.manage');
  const renamed = name.trim() !== '' && name.trim() !== f.name;
  const first = t(f.default ? 'onboarding.saved.unsetFirst' : 'onboarding.saved.setFirst', { name: f.name });
  return (
    <Group gap="xs" wrap="nowrap">
      <ActionIcon
        variant="subtle"
        aria-label={first}
        aria-pressed={f.default}
        onClick={() => run.mutate(() => setDefault(f.default ? '' : f.id))}
      >
        {f.default ? <IconStarFilled size={17} /> : <IconStar size={17} />}
      </ActionIcon>
      <TextInput
        className={classes.name}
        aria-label={t('onboarding.saved.rename', { name: f.name })}
        value={name}
        maxLength={60}
        disabled={!may}
        onChange={(e) => setName(e.currentTarget.value)}
        rightSectionPointerEvents="all"
        rightSection={
          renamed && (
            <ActionIcon
              variant="subtle"
              aria-label={t('common.save')}
              onClick={() => put({ name: name.trim(), filter: f.filter })}
            >
              <IconCheck size={16} />
            </ActionIcon>
          )
        }
      />
      {may && (
        <>
          <ActionIcon
            variant="subtle"
            aria-label={`${f.name}: ${t('onboarding.saved.update')}`}
            title={t('onboarding.saved.update')}
            onClick={() => put({ name: f.name, filter: fieldsOf(search) })}
          >
            <IconReplace size={17} />
          </ActionIcon>
          <ActionIcon
            variant="subtle"
            color="red"
            aria-label={t('onboarding.saved.remove', { name: f.name })}
            onClick={() => run.mutate(() => call(api.DELETE('/filters/{id}', path)))}
          >
            <IconTrash size={17} />
          </ActionIcon>
        </>
      )}
    </Group>
  );
}
