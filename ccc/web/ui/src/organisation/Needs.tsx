import { Text } from '@mantine/core';
import { useQuery } from '@tanstack/react-query';
import { workingIn } from '../api/tenant';
import type { Verb } from '../app/meta';
import { useText } from '../i18n';
import { rolesQuery } from './queries';

/** Says which roles somebody needs for what he is not shown or offered. */
export function Needs({ verb }: { verb: Verb }) {
  const { t } = useText();
  const { data } = useQuery(rolesQuery);
  const granted = data?.items.some((role) => role.granted.includes(verb));
  if (workingIn && !granted) return <Text c="dimmed">{t('organisation.ownOnly')}</Text>;
  const roles = data?.items.filter((role) => role.verbs.includes(verb)).map(({ role }) => t(`role.${role}`)) ?? [];
  return <Text c="dimmed">{t('organisation.needs', { roles: roles.join(', ') })}</Text>;
}
