import { Alert, Button, Group, Modal, Stack, Text } from '@mantine/core';
import { useMutation, useQueryClient } from '@tanstack/react-query';
import { useState } from 'react';
import { api, call } from '../api/client';
import { ApiError, asApiError } from '../api/problem';
import { problemText } from '../api/problemText';
import type { Person } from '../api/types';
import { tell } from '../components/notify';
import { Unread } from '../components/Unread';
import { useText } from '../i18n';
import { usePartName } from './Part';
import { RolesEditor } from './RolesEditor';

/** Gives a person other roles; null: nobody. */
export function RolesModal({ person, onClose }: { person: Person | null; onClose(): void }) {
  const { t } = useText();
  return (
    <Modal
      opened={person !== null}
      onClose={onClose}
      size="lg"
      title={t('organisation.people.rolesOf', { name: person?.name })}
      closeButtonProps={{ 'aria-label': t('common.close') }}
    >
      {person && <RolesForm person={person} onClose={onClose} />}
    </Modal>
  );
}

/** Reads a person anew. */
async function read({ id, email }: Person): Promise<Person> {
  const found = await call(api.GET('/users', { params: { query: { q: email, limit: 200 } } }));
  const person = found.items.find((p) => p.id === id);
  if (!person) throw new ApiError('not_found', 404);
  return person;
}

function RolesForm({ person, onClose }: { person: Person; onClose(): void }) {
  const { t } = useText();
  const queryClient = useQueryClient();
  const [roles, setRoles] = useState(person.roles);
  // That the form began with.
  const [version, setVersion] = useState(person.roles_version);
  const now = useMutation({ mutationFn: () => read(person) });
  const save = useMutation({
    mutationFn: (known: string) =>
      call(
        api.PUT('/users/{id}/roles', {
          params: { path: { id: person.id }, header: { 'If-Match': `"${known}"` } },
          body: { roles },
        }),
      ),
    onError: (thrown) => {
      if (asApiError(thrown).code === 'version') now.mutate();
    },
    onSuccess: async () => {
      tell(t('organisation.people.saved', { name: person.name }));
      await queryClient.invalidateQueries({ queryKey: ['people'] });
      onClose();
    },
  });
  const conflict = save.error !== null && asApiError(save.error).code === 'version';
  const take = ({ roles: theirs, roles_version }: Person) => {
    setRoles(theirs);
    setVersion(roles_version);
    save.reset();
  };
  return (
    <form
      onSubmit={(e) => {
        e.preventDefault();
        save.mutate(version);
      }}
    >
      <Stack gap="md">
        {save.error && !conflict && (
          <Alert color="red" role="alert">
            {problemText(t, save.error)}
          </Alert>
        )}
        {conflict && now.error && <Unread error={now.error} busy={now.isPending} onRetry={() => now.mutate()} />}
        {conflict && now.data && (
          <Conflict
            person={now.data}
            busy={save.isPending}
            onTake={() => take(now.data)}
            onKeep={() => save.mutate(now.data.roles_version)}
          />
        )}
        <RolesEditor value={roles} onChange={setRoles} />
        <Group justify="flex-end">
          <Button variant="default" onClick={onClose}>
            {t('common.cancel')}
          </Button>
          <Button type="submit" loading={save.isPending || now.isPending} disabled={conflict}>
            {t('common.save')}
          </Button>
        </Group>
      </Stack>
    </form>
  );
}

/** Which roles somebody else has given meanwhile, and what is to become of it. */
function Conflict({ person, busy, onTake, onKeep }: { person: Person; busy: boolean; onTake(): void; onKeep(): void }) {
  const { t } = useText();
  const partName = usePartName();
  return (
    <Alert color="yellow" role="alert" title={t('rollout.conflict.title')}>
      <Stack gap="sm">
        <Text size="sm">{t('organisation.roles.changed')}</Text>
        <ul>
          {person.roles.length === 0 && <li>{t('organisation.people.noRole')}</li>}
          {person.roles.map((grant) => (
            <li key={`${grant.role} ${grant.site_id} ${grant.system_id}`}>
              {[t(`role.${grant.role}`), partName(grant)].filter(Boolean).join(' · ')}
            </li>
          ))}
        </ul>
        <Group>
          <Button variant="default" onClick={onTake}>
            {t('rollout.conflict.take')}
          </Button>
          <Button variant="default" loading={busy} onClick={onKeep}>
            {t('rollout.conflict.keep')}
          </Button>
        </Group>
      </Stack>
    </Alert>
  );
}
