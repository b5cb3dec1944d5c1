import { ActionIcon, Anchor, Button, Group, Paper, Text, TextInput } from '@mantine/core';
import { IconPencil, IconTrash } from '@tabler/icons-react';
import { useMutation, useQuery, useQueryClient } from '@tanstack/react-query';
import { Link } from '@tanstack/react-router';
import { type FormEvent, useMemo, useState } from 'react';
import { api, call, idempotencyKey } from '../api/client';
import { asApiError } from '../api/problem';
import { problemText } from '../api/problemText';
import type { Site, System } from '../api/types';
import { useMay } from '../app/meta';
import { useComplain } from '../components/notify';
import { fleet, useFleet } from '../fleet/store';
import { useText } from '../i18n';
import { Needs } from './Needs';
import classes from './Organisation.module.css';
import { Listed } from './Paged';
import { sitesQuery } from './queries';

const maxName = 100;

/** So many systems of a site are named; the rest is counted. */
const named = 12;

/** The places where the tenant has systems. */
export function SitesPage() {
  const { t } = useText();
  const { whole } = useMay();
  const sites = useQuery(sitesQuery);
  const systems = useSystemsBySite();
  return (
    <>
      <Text c="dimmed" mb="md">
        {t('organisation.sites.lead')}
      </Text>
      {whole('tenant.write') ? <NewSite /> : <Needs verb="tenant.write" />}
      <Paper withBorder radius="lg" className={classes.section} mt="md">
        <Listed result={sites} empty={t('organisation.sites.none')}>
          {(site) => <Entry key={site.id} site={site} systems={systems.get(site.id) ?? []} />}
        </Listed>
      </Paper>
    </>
  );
}

function useSystemsBySite(): Map<string, System[]> {
  const { structure } = useFleet();
  // biome-ignore lint/correctness/useExhaustiveDependencies: the store is read again when its counter rises
  return useMemo(() => {
    const sites = new Map<string, System[]>();
    for (const system of fleet.all()) {
      if (!system.site_id) continue;
      const there = sites.get(system.site_id);
      if (there) there.push(system);
      else sites.set(system.site_id, [system]);
    }
    for (const there of sites.values()) there.sort((a, b) => a.name.localeCompare(b.name));
    return sites;
  }, [structure]);
}

function useSiteError() {
  const { t } = useText();
  return (thrown: unknown) =>
    asApiError(thrown).code === 'conflict' ? t('organisation.sites.exists') : problemText(t, thrown);
}

function NewSite() {
  const { t } = useText();
  const queryClient = useQueryClient();
  const errorText = useSiteError();
  const [name, setName] = useState('');
  const make = useMutation({
    mutationFn: () => {
      const header = { 'Idempotency-Key': idempotencyKey() };
      return call(api.POST('/sites', { params: { header }, body: { name: name.trim() } }));
    },
    onSuccess: () => {
      setName('');
      return queryClient.invalidateQueries({ queryKey: sitesQuery.queryKey });
    },
  });
  const send = (e: FormEvent) => {
    e.preventDefault();
    if (name.trim()) make.mutate();
  };
  return (
    <form onSubmit={send} className={classes.tools}>
      <TextInput
        className={classes.search}
        label={t('organisation.sites.new')}
        maxLength={maxName}
        value={name}
        error={make.error ? errorText(make.error) : undefined}
        onChange={(e) => {
          setName(e.currentTarget.value);
          make.reset();
        }}
      />
      <Button type="submit" variant="default" disabled={!name.trim()} loading={make.isPending}>
        {t('groups.add')}
      </Button>
    </form>
  );
}

function Entry({ site, systems }: { site: Site; systems: System[] }) {
  const { t } = useText();
  const { whole } = useMay();
  const complain = useComplain();
  const queryClient = useQueryClient();
  const [renaming, setRenaming] = useState(false);
  const [asked, setAsked] = useState(false);
  const remove = useMutation({
    mutationFn: () => call(api.DELETE('/sites/{id}', { params: { path: { id: site.id } } })),
    onSuccess: () => queryClient.invalidateQueries({ queryKey: sitesQuery.queryKey }),
    onError: complain,
    onSettled: () => setAsked(false),
  });
  return (
    <li className={classes.item}>
      <div className={classes.what}>
        {renaming ? (
          <Rename site={site} onDone={() => setRenaming(false)} />
        ) : (
          <span className={classes.name}>{site.name}</span>
        )}
        <span className={classes.more}>{t('groups.size', { count: systems.length })}</span>
        <div className={classes.badges}>
          {systems.slice(0, named).map(({ id, name }) => (
            <Anchor
              key={id}
              size="sm"
              className={classes.badge}
              renderRoot={(props) => <Link {...props} to="/systems/$id" params={{ id }} />}
            >
              {name}
            </Anchor>
          ))}
          {systems.length > named && (
            <span className={classes.badge}>{t('organisation.sites.andMore', { count: systems.length - named })}</span>
          )}
        </div>
      </div>
      <Group gap="xs">
        {whole('tenant.write') && !renaming && (
          <ActionIcon
            variant="subtle"
            color="gray"
            aria-label={t('organisation.sites.rename', { name: site.name })}
            onClick={() => setRenaming(true)}
          >
            <IconPencil size={17} />
          </ActionIcon>
        )}
        {whole('users.manage') &&
          (asked ? (
            <Button size="compact-sm" color="red" loading={remove.isPending} onClick={() => remove.mutate()}>
              {t('organisation.sites.removeSure')}
            </Button>
          ) : (
            <ActionIcon
              variant="subtle"
              color="gray"
              aria-label={t('organisation.sites.remove', { name: site.name })}
              onClick={() => setAsked(true)}
            >
              <IconTrash size={17} />
            </ActionIcon>
          ))}
      </Group>
    </li>
  );
}

function Rename({ site, onDone }: { site: Site; onDone(): void }) {
  const { t } = useText();
  const queryClient = useQueryClient();
  const errorText = useSiteError();
  const [name, setName] = useState(site.name);
  const rename = useMutation({
    mutationFn: () => call(api.PUT('/sites/{id}', { params: { path: { id: site.id } }, body: { name: name.trim() } })),
    onSuccess: async () => {
      await queryClient.invalidateQueries({ queryKey: sitesQuery.queryKey });
      onDone();
    },
  });
  return (
    <form
      className={classes.roleLine}
      onSubmit={(e) => {
        e.preventDefault();
        if (name.trim()) rename.mutate();
      }}
    >
      <TextInput
        className={classes.roleField}
        aria-label={t('organisation.sites.rename', { name: site.name })}
        maxLength={maxName}
        data-autofocus
        value={name}
        error={rename.error ? errorText(rename.error) : undefined}
        onChange={(e) => setName(e.currentTarget.value)}
      />
      <Button type="submit" loading={rename.isPending}>
        {t('common.save')}
      </Button>
      <Button variant="default" onClick={onDone}>
        {t('common.cancel')}
      </Button>
    </form>
  );
}
