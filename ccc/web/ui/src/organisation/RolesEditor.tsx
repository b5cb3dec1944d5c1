import { ActionIcon, Button, Select, Text } from '@mantine/core';
import { IconPlus, IconTrash } from '@tabler/icons-react';
import { useQuery } from '@tanstack/react-query';
import type { RoleGrant } from '../api/types';
import { useMay, type Verb } from '../app/meta';
import { useText } from '../i18n';
import classes from './Organisation.module.css';
import { PartSelect } from './Part';
import { rolesQuery } from './queries';
import { verbText } from './verbs';

/** Gives somebody roles, each for everything, for a site or for one system. */
export function RolesEditor({
  value,
  onChange,
  error,
}: {
  value: RoleGrant[];
  onChange(roles: RoleGrant[]): void;
  error?: string | undefined;
}) {
  const { t } = useText();
  const { whole } = useMay();
  const { data } = useQuery(rolesQuery);
  const roles = data?.items ?? [];
  // Nobody gives or takes what he does not have.
  const mine = new Set(roles.filter(({ verbs }) => verbs.every(whole)).map(({ role }) => role));
  const set = (i: number, grant: RoleGrant) => onChange(value.map((old, k) => (k === i ? grant : old)));
  const free = roles.find(({ role }) => mine.has(role) && role !== 'owner' && !value.some((g) => g.role === role));
  return (
    <fieldset className={classes.roles}>
      <legend>{t('organisation.roles.title')}</legend>
      {value.length === 0 && (
        <Text size="sm" c="dimmed">
          {t('organisation.roles.none')}
        </Text>
      )}
      {value.map((grant, i) => {
        const locked = !mine.has(grant.role);
        return (
          // biome-ignore lint/suspicious/noArrayIndexKey: the lines have nothing else that stays while they change
          <div key={i} className={classes.role}>
            <div className={classes.roleLine}>
              <Select
                className={classes.roleField}
                label={t('organisation.roles.role')}
                allowDeselect={false}
                disabled={locked}
                value={grant.role}
                data={roles.map(({ role }) => ({
                  value: role,
                  label: t(`role.${role}`),
                  disabled: !mine.has(role),
                }))}
                onChange={(role) => {
                  const chosen = roles.find((r) => r.role === role)?.role;
                  if (chosen === 'owner') set(i, { role: chosen });
                  else if (chosen) set(i, { ...grant, role: chosen });
                }}
              />
              <div className={classes.roleField}>
                <PartSelect
                  value={grant}
                  whole={locked || grant.role === 'owner'}
                  onChange={(part) => set(i, { role: grant.role, ...part })}
                />
              </div>
              <ActionIcon
                variant="subtle"
                color="gray"
                size={36}
                disabled={locked}
                aria-label={t('organisation.roles.remove', { role: t(`role.${grant.role}`) })}
                onClick={() => onChange(value.filter((_, k) => k !== i))}
              >
                <IconTrash size={17} />
              </ActionIcon>
            </div>
            {locked && data && (
              <Text size="sm" c="dimmed" mt="xs">
                {t('organisation.roles.locked')}
              </Text>
            )}
            <Permits verbs={roles.find((r) => r.role === grant.role)?.verbs ?? []} />
          </div>
        );
      })}
      {error && (
        <Text size="sm" c="red" role="alert">
          {error}
        </Text>
      )}
      <div>
        <Button
          variant="default"
          size="compact-sm"
          leftSection={<IconPlus size={15} />}
          disabled={!free}
          onClick={() => free && onChange([...value, { role: free.role }])}
        >
          {t('organisation.roles.add')}
        </Button>
      </div>
    </fieldset>
  );
}

/** What a role permits, as the server says. */
export function Permits({ verbs }: { verbs: Verb[] }) {
  const { t } = useText();
  return (
    <details className={classes.permits}>
      <summary>{t('organisation.roles.permits', { count: verbs.length })}</summary>
      <ul>
        {verbs.map((verb) => (
          <li key={verb}>{verbText(t, verb)}</li>
        ))}
      </ul>
    </details>
  );
}
