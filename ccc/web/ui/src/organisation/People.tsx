import { Button, Paper, Text, TextInput } from '@mantine/core';
import { useDebouncedValue, useDisclosure } from '@mantine/hooks';
import { IconSearch, IconUserPlus } from '@tabler/icons-react';
import { keepPreviousData, useInfiniteQuery, useMutation, useQueryClient } from '@tanstack/react-query';
import { useState } from 'react';
import { api, call } from '../api/client';
import type { Person } from '../api/types';
import { useMay, useMe } from '../app/meta';
import { useComplain } from '../components/notify';
import { useText } from '../i18n';
import { Invitations } from '../security/Invitations';
import { Needs } from './Needs';
import { NewPersonModal } from './NewPerson';
import classes from './Organisation.module.css';
import { Paged } from './Paged';
import { usePartName } from './Part';
import { peopleQuery } from './queries';
import { RolesModal } from './RolesModal';

/** The users of the tenant, and what each may do. */
export function PeoplePage() {
  const { t } = useText();
  const { whole } = useMay();
  const [typed, setTyped] = useState('');
  const [query] = useDebouncedValue(typed.trim(), 200);
  const [adding, add] = useDisclosure(false);
  const [edited, setEdited] = useState<Person | null>(null);
  const may = whole('users.read');
  const people = useInfiniteQuery({ ...peopleQuery(query), enabled: may, placeholderData: keepPreviousData });
  if (!may) return <Needs verb="users.read" />;
  const total = people.data?.pages[0]?.total;
  return (
    <>
      <div className={classes.tools}>
        <TextInput
          className={classes.search}
          type="search"
          label={t('organisation.people.search')}
          leftSection={<IconSearch size={16} />}
          value={typed}
          onChange={(e) => setTyped(e.currentTarget.value)}
        />
        {whole('users.manage') && (
          <Button leftSection={<IconUserPlus size={16} />} onClick={add.open}>
            {t('organisation.people.add')}
          </Button>
        )}
      </div>
      {!whole('users.manage') && <Needs verb="users.manage" />}
      <Text size="sm" c="dimmed" mb="xs" role="status">
        {total !== undefined && t('organisation.people.count', { count: total })}
      </Text>
      <Paper withBorder radius="lg" className={classes.section}>
        <Paged result={people} empty={t('organisation.people.none')}>
          {(person) => <Entry key={person.id} person={person} onEdit={() => setEdited(person)} />}
        </Paged>
      </Paper>
      <Invitations />
      <NewPersonModal opened={adding} onClose={add.close} />
      <RolesModal person={edited} onClose={() => setEdited(null)} />
    </>
  );
}

function Entry({ person, onEdit }: { person: Person; onEdit(): void }) {
  const { t } = useText();
  const me = useMe();
  const { whole } = useMay();
  const partName = usePartName();
  const complain = useComplain();
  const queryClient = useQueryClient();
  const [asked, ask] = useDisclosure(false);
  const lock = useMutation({
    mutationFn: (disabled: boolean) =>
      call(api.PUT('/users/{id}/disabled', { params: { path: { id: person.id } }, body: { disabled } })),
    onSuccess: () => queryClient.invalidateQueries({ queryKey: ['people'] }),
    onError: complain,
    onSettled: ask.close,
  });
  return (
    <li className={classes.item}>
      <div className={classes.what}>
        <span className={classes.name}>{person.name}</span>
        <span className={classes.more}>{person.email}</span>
        <div className={classes.badges}>
          {person.disabled && (
            <span className={classes.badge} data-tone="bad">
              {t('organisation.people.locked')}
            </span>
          )}
          {person.roles.length === 0 && (
            <span className={classes.badge} data-tone="warn">
              {t('organisation.people.noRole')}
            </span>
          )}
          {person.roles.map((grant) => (
            <span key={`${grant.role} ${grant.site_id} ${grant.system_id}`} className={classes.badge}>
              {[t(`role.${grant.role}`), partName(grant)].filter(Boolean).join(' · ')}
            </span>
          ))}
        </div>
      </div>
      {whole('users.manage') && (
        <div className={classes.buttons}>
          <Button
            variant="default"
            size="compact-sm"
            aria-label={t('organisation.people.rolesOf', { name: person.name })}
            onClick={onEdit}
          >
            {t('organisation.roles.title')}
          </Button>
          {person.id !== me.user.id &&
            (asked ? (
              <Button size="compact-sm" color="red" loading={lock.isPending} onClick={() => lock.mutate(true)}>
                {t('organisation.people.lockSure')}
              </Button>
            ) : (
              <Button
                variant="default"
                size="compact-sm"
                loading={lock.isPending}
                aria-label={t(person.disabled ? 'organisation.people.unlockName' : 'organisation.people.lockName', {
                  name: person.name,
                })}
                onClick={() => (person.disabled ? lock.mutate(false) : ask.open())}
              >
                {person.disabled ? t('organisation.people.unlock') : t('organisation.people.lock')}
              </Button>
            ))}
        </div>
      )}
    </li>
  );
}
