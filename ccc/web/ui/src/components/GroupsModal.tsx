import { ActionIcon, Button, Group, Modal, Stack, Text, TextInput } from '@mantine/core';
import { IconTrash } from '@tabler/icons-react';
import { useQuery, useQueryClient } from '@tanstack/react-query';
import { type FormEvent, useMemo, useState } from 'react';
import { api, call } from '../api/client';
import { limits } from '../api/generated/limits';
import { groupsQuery, useMakeGroup } from '../api/groups';
import { asApiError } from '../api/problem';
import { problemText } from '../api/problemText';
import type { Group as SystemGroup } from '../api/types';
import { useRights } from '../app/meta';
import { fleet, useFleet } from '../fleet/store';
import { useText } from '../i18n';
import classes from './GroupsModal.module.css';
import { useComplain } from './notify';

/** Makes groups and removes them; the systems in a removed one stay. */
export function GroupsModal({ opened, onClose }: { opened: boolean; onClose(): void }) {
  const { t } = useText();
  return (
    <Modal
      opened={opened}
      onClose={onClose}
      title={t('groups.title')}
      closeButtonProps={{ 'aria-label': t('common.close') }}
    >
      <Groups />
    </Modal>
  );
}

function Groups() {
  const { t } = useText();
  const { write } = useRights();
  const { data: groups = [] } = useQuery(groupsQuery);
  const queryClient = useQueryClient();
  const complain = useComplain();
  const makeGroup = useMakeGroup();
  const sizes = useSizes();
  const [name, setName] = useState('');
  const [error, setError] = useState('');
  const [asked, setAsked] = useState<string | null>(null);

  const add = async (e: FormEvent) => {
    e.preventDefault();
    if (!name.trim()) return;
    try {
      await makeGroup(name.trim());
      setName('');
    } catch (thrown) {
      setError(asApiError(thrown).code === 'conflict' ? t('groups.exists') : problemText(t, thrown));
    }
  };
  const remove = async (group: SystemGroup) => {
    try {
      await call(api.DELETE('/groups/{id}', { params: { path: { id: group.id } } }));
      queryClient.setQueryData(groupsQuery.queryKey, (known) => known?.filter((g) => g.id !== group.id));
    } catch (thrown) {
      complain(thrown);
    }
    setAsked(null);
  };

  return (
    <Stack>
      {groups.length === 0 && <Text c="dimmed">{t('groups.none')}</Text>}
      <ul className={classes.list}>
        {groups.map((group) => (
          <li key={group.id} className={classes.group}>
            <span className={classes.name}>{group.name}</span>
            <Text size="sm" c="dimmed">
              {t('groups.size', { count: sizes.get(group.id) ?? 0 })}
            </Text>
            {write &&
              (asked === group.id ? (
                <Button size="compact-sm" color="red" onClick={() => void remove(group)}>
                  {t('groups.confirm')}
                </Button>
              ) : (
                <ActionIcon
                  variant="subtle"
                  color="gray"
                  onClick={() => setAsked(group.id)}
                  aria-label={t('groups.remove', { name: group.name })}
                >
                  <IconTrash size={16} />
                </ActionIcon>
              ))}
          </li>
        ))}
      </ul>
      {write && (
        <form onSubmit={(e) => void add(e)}>
          <Group align="flex-start" wrap="nowrap">
            <TextInput
              className={classes.name}
              aria-label={t('groups.new')}
              placeholder={t('groups.new')}
              maxLength={limits.group}
              value={name}
              error={error}
              onChange={(e) => {
                setName(e.currentTarget.value);
                setError('');
              }}
            />
            <Button type="submit" variant="default" disabled={!name.trim()}>
              {t('groups.add')}
            </Button>
          </Group>
        </form>
      )}
    </Stack>
  );
}

function useSizes(): Map<string, number> {
  const { structure } = useFleet();
  // biome-ignore lint/correctness/useExhaustiveDependencies: the store is read again when its counter rises
  return useMemo(() => {
    const sizes = new Map<string, number>();
    for (const system of fleet.all()) for (const { id } of system.groups) sizes.set(id, (sizes.get(id) ?? 0) + 1);
    return sizes;
  }, [structure]);
}
