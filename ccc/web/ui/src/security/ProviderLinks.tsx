import { ActionIcon, Button, Group, Text } from '@mantine/core';
import { IconTrash } from '@tabler/icons-react';
import { useQuery, useQueryClient } from '@tanstack/react-query';
import { useState } from 'react';
import { api, ask } from '../api/client';
import type { ProviderLink } from '../api/types';
import { tell } from '../components/notify';
import { useText } from '../i18n';
import { dateTime } from '../time/format';
import { useProven } from './Prove';
import { providersQuery } from './queries';
import { Section } from './Section';
import classes from './Security.module.css';

/** The OpenID providers at which the person signs in, and could; nothing where there are none. */
export function ProviderLinksSection() {
  const { t, language } = useText();
  const run = useProven();
  const queryClient = useQueryClient();
  const { data } = useQuery(providersQuery);
  const [asked, setAsked] = useState<string | null>(null);
  if (!data || (data.items.length === 0 && data.available.length === 0)) return null;
  const link = (provider: string) =>
    run(async () => {
      const { url } = await ask(api.POST('/account/providers/options', { body: { provider } }));
      location.assign(url);
    });
  const unlink = ({ id, name }: ProviderLink) =>
    run(async () => {
      setAsked(null);
      await ask(api.DELETE('/account/providers/{link}', { params: { path: { link: id } } }));
      tell(t('security.providers.removed', { name }));
      await queryClient.invalidateQueries({ queryKey: ['account'] });
    });
  return (
    <Section id="providers" title={t('security.providers.title')}>
      <Text c="dimmed">{t('security.providers.text')}</Text>
      <ul className={classes.list}>
        {data.items.map((one) => (
          <li key={one.id} className={classes.item}>
            <div className={classes.what}>
              <Text fw={600}>{one.name}</Text>
              <Text size="sm" c="dimmed">
                {t('security.providers.since', { time: dateTime(one.created_at, language) })}
                {' · '}
                {one.last_used_at
                  ? t('security.providers.used', { time: dateTime(one.last_used_at, language) })
                  : t('security.providers.unused')}
              </Text>
              {one.made && <Text size="sm">{t('security.providers.made')}</Text>}
            </div>
            {!one.made &&
              (asked === one.id ? (
                <Button size="compact-sm" color="red" onClick={() => void unlink(one)}>
                  {t('security.providers.removeSure')}
                </Button>
              ) : (
                <ActionIcon
                  variant="subtle"
                  color="gray"
                  aria-label={t('security.providers.remove', { name: one.name })}
                  onClick={() => setAsked(one.id)}
                >
                  <IconTrash size={17} />
                </ActionIcon>
              ))}
          </li>
        ))}
      </ul>
      {data.available.length > 0 && (
        <Group mt="md">
          {data.available.map(({ id, name }) => (
            <Button key={id} variant="default" onClick={() => void link(id)}>
              {t('security.providers.add', { name })}
            </Button>
          ))}
        </Group>
      )}
    </Section>
  );
}
