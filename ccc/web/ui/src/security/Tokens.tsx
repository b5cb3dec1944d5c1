import {
  ActionIcon,
  Button,
  Group,
  Modal,
  MultiSelect,
  NumberInput,
  Select,
  Stack,
  Text,
  TextInput,
} from '@mantine/core';
import { IconTrash } from '@tabler/icons-react';
import { useMutation, useQuery, useQueryClient } from '@tanstack/react-query';
import { type FormEvent, useState } from 'react';
import { api, ask, call } from '../api/client';
import type { APIToken } from '../api/types';
import type { Verb } from '../app/meta';
import { useComplain } from '../components/notify';
import { useText } from '../i18n';
import { rolesQuery, tenantsQuery } from '../organisation/queries';
import { useHalfMinute } from '../time/clock';
import { dateTime } from '../time/format';
import { useProven } from './Prove';
import { tokensQuery } from './queries';
import { Section } from './Section';
import classes from './Security.module.css';

/** Tokens with which programs use the API. */
export function TokensSection() {
  const { t, language } = useText();
  const complain = useComplain();
  const queryClient = useQueryClient();
  const { data } = useQuery(tokensQuery);
  const { data: tenants = [] } = useQuery(tenantsQuery);
  const nameOf = (id: string) => tenants.find((one) => one.id === id)?.name ?? t('security.tokens.former');
  const [open, setOpen] = useState(false);
  const [asked, setAsked] = useState<string | null>(null);
  const refresh = () => queryClient.invalidateQueries({ queryKey: tokensQuery.queryKey });
  const revoke = (token: APIToken) =>
    call(api.DELETE('/account/tokens/{token}', { params: { path: { token: token.id } } }))
      .then(refresh)
      .catch(complain);
  const now = useHalfMinute();
  return (
    <Section id="tokens" title={t('security.tokens.title')}>
      <Text c="dimmed">{t('security.tokens.text')}</Text>
      {data?.items.length === 0 && <Text mt="xs">{t('security.tokens.none')}</Text>}
      <ul className={classes.list}>
        {data?.items.map((token) => (
          <li key={token.id} className={classes.item}>
            <div className={classes.what}>
              <Text fw={600}>{token.name}</Text>
              {(tenants.length > 1 || tenants[0]?.id !== token.tenant_id) && tenants.length > 0 && (
                <Text size="sm">{t('security.tokens.at', { name: nameOf(token.tenant_id) })}</Text>
              )}
              <Text size="sm" c="dimmed">
                {token.verbs.join(', ')}
              </Text>
              <Text size="sm" c="dimmed">
                {Date.parse(token.expires_at) > now
                  ? t('security.tokens.expires', { time: dateTime(token.expires_at, language) })
                  : t('security.tokens.expired')}
                {' · '}
                {token.last_used ? t('security.tokens.used', { time: token.last_used }) : t('security.tokens.unused')}
              </Text>
            </div>
            {asked === token.id ? (
              <Button size="compact-sm" color="red" onClick={() => void revoke(token)}>
                {t('security.tokens.revokeSure')}
              </Button>
            ) : (
              <ActionIcon
                variant="subtle"
                color="gray"
                aria-label={t('security.tokens.revoke', { name: token.name })}
                onClick={() => setAsked(token.id)}
              >
                <IconTrash size={17} />
              </ActionIcon>
            )}
          </li>
        ))}
      </ul>
      <Button variant="default" mt="md" onClick={() => setOpen(true)}>
        {t('security.tokens.add')}
      </Button>
      <Modal
        opened={open}
        onClose={() => setOpen(false)}
        title={t('security.tokens.add')}
        closeButtonProps={{ 'aria-label': t('common.close') }}
      >
        <NewToken
          onMade={() => {
            void refresh();
          }}
        />
      </Modal>
    </Section>
  );
}

function NewToken({ onMade }: { onMade(): void }) {
  const { t } = useText();
  const { data: tenants = [] } = useQuery(tenantsQuery);
  const { data: roles } = useQuery(rolesQuery);
  const run = useProven();
  const [name, setName] = useState('');
  const [verbs, setVerbs] = useState<string[]>([]);
  // The own one comes first.
  const [chosen, setChosen] = useState('');
  const tenant = tenants.find((one) => one.id === chosen) ?? tenants[0];
  // What the person may do there, of what a token may have at all.
  const offered = [...(tenant?.verbs ?? []), ...(tenant?.some_verbs ?? [])]
    .filter((verb) => roles?.tokens.includes(verb))
    .sort();
  const [days, setDays] = useState(90);
  const [sent, setSent] = useState(false);
  const [token, setToken] = useState('');
  const make = useMutation({
    mutationFn: () =>
      run(async () => {
        const made = await ask(
          api.POST('/account/tokens', {
            body: { name: name.trim(), verbs: verbs as Verb[], days, ...(tenant && { tenant_id: tenant.id }) },
          }),
        );
        setToken(made.token);
        onMade();
      }),
  });
  const send = (e: FormEvent) => {
    e.preventDefault();
    setSent(true);
    if (name.trim() && verbs.length > 0) make.mutate();
  };
  if (token)
    return (
      <Stack>
        <Text>{t('security.tokens.shown')}</Text>
        <code className={classes.secret} data-testid="token">
          {token}
        </code>
      </Stack>
    );
  return (
    <form onSubmit={send} noValidate>
      <Stack>
        <TextInput
          label={t('security.tokens.name')}
          maxLength={60}
          data-autofocus
          value={name}
          error={sent && !name.trim() ? t('field.required') : undefined}
          onChange={(e) => setName(e.currentTarget.value)}
        />
        {tenants.length > 1 && (
          <Select
            label={t('security.tokens.tenant')}
            allowDeselect={false}
            searchable
            value={tenant?.id ?? null}
            data={tenants.map((one) => ({ value: one.id, label: one.name }))}
            onChange={(id) => {
              setChosen(id ?? '');
              setVerbs([]);
            }}
          />
        )}
        <MultiSelect
          label={t('security.tokens.verbs')}
          data={offered}
          value={verbs}
          error={sent && verbs.length === 0 ? t('security.tokens.verbsMissing') : undefined}
          onChange={setVerbs}
          searchable
          hidePickedOptions
        />
        <NumberInput
          label={t('security.tokens.days')}
          min={1}
          max={365}
          allowDecimal={false}
          clampBehavior="strict"
          value={days}
          onChange={(v) => setDays(typeof v === 'number' ? v : 90)}
        />
        <Group justify="flex-end">
          <Button type="submit" loading={make.isPending}>
            {t('security.tokens.make')}
          </Button>
        </Group>
      </Stack>
    </form>
  );
}
