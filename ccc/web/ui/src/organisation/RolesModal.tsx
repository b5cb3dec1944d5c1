import { Alert, Button, Group, Modal, Stack } from '@mantine/core';
import { useMutation, useQueryClient } from '@tanstack/react-query';
import { useState } from 'react';
import { api, call } from '../api/client';
import { problemText } from '../api/problemText';
import type { Person } from '../api/types';
import { tell } from '../components/notify';
import { useText } from '../i18n';
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

function RolesForm({ person, onClose }: { person: Person; onClose(): void }) {
  const { t } = useText();
  const queryClient = useQueryClient();
  const [roles, setRoles] = useState(person.roles);
  const save = useMutation({
    mutationFn: () => call(api.PUT('/users/{id}/roles', { params: { path: { id: person.id } }, body: { roles } })),
    onSuccess: async () => {
      tell(t('organisation.people.saved', { name: person.name }));
      await queryClient.invalidateQueries({ queryKey: ['people'] });
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
      <Stack gap="md">
        {save.error && (
          <Alert color="red" role="alert">
            {problemText(t, save.error)}
          </Alert>
        )}
        <RolesEditor value={roles} onChange={setRoles} />
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
