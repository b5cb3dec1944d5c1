import { Alert, Button, Checkbox, Group, Modal, Paper, Select, Stack, Text, TextInput } from '@mantine/core';
import { useForm } from '@mantine/form';
import { useDebouncedValue, useDisclosure } from '@mantine/hooks';
import { IconBuildingPlus, IconSearch } from '@tabler/icons-react';
import { keepPreviousData, useInfiniteQuery, useMutation, useQueryClient } from '@tanstack/react-query';
import { useRef, useState } from 'react';
import { api, call, idempotencyKey } from '../api/client';
import { limits } from '../api/generated/limits';
import { asApiError } from '../api/problem';
import { fieldTexts, problemText } from '../api/problemText';
import type { KnownTenant } from '../api/types';
import { useMay, useMe } from '../app/meta';
import { tell } from '../components/notify';
import { useText } from '../i18n';
import { LinkOnce } from '../security/LinkOnce';
import { GlassModal } from './GlassModal';
import { Needs } from './Needs';
import { PersonRest, usePersonFields } from './NewPerson';
import classes from './Organisation.module.css';
import { InviteOwnerAgain, OwnerInvited } from './OwnerInvited';
import { Paged } from './Paged';
import { belowQuery } from './queries';

/** The tenants right below the own one. */
export function CustomersPage() {
  const { t } = useText();
  const { tenant } = useMe();
  const { whole } = useMay();
  const [typed, setTyped] = useState('');
  const [query] = useDebouncedValue(typed.trim(), 200);
  const [making, make] = useDisclosure(false);
  const [link, setLink] = useState('');
  const [entered, enter] = useState<KnownTenant | null>(null);
  const may = whole('tenant.create');
  const below = useInfiniteQuery({ ...belowQuery(query), enabled: may, placeholderData: keepPreviousData });
  if (!may) return <Needs verb="tenant.create" />;
  const total = below.data?.pages[0]?.total;
  const glass = tenant.kind === 'operator' && whole('break_glass.begin');
  return (
    <>
      <Text c="dimmed" mb="md">
        {t('organisation.customers.lead')}
      </Text>
      <div className={classes.tools}>
        <TextInput
          className={classes.search}
          type="search"
          label={t('organisation.customers.search')}
          leftSection={<IconSearch size={16} />}
          value={typed}
          onChange={(e) => setTyped(e.currentTarget.value)}
        />
        <Button leftSection={<IconBuildingPlus size={16} />} onClick={make.open}>
          {t('organisation.customers.add')}
        </Button>
      </div>
      <Text size="sm" c="dimmed" mb="xs" role="status">
        {total !== undefined && t('organisation.customers.count', { count: total })}
      </Text>
      {link && <LinkOnce link={link} />}
      <Paper withBorder radius="lg" className={classes.section}>
        <Paged result={below} empty={t('organisation.customers.none')}>
          {(one) => (
            <li key={one.id} className={classes.item}>
              <div className={classes.what}>
                <span className={classes.name}>{one.name}</span>
                <span className={classes.more}>
                  {t(`organisation.kind.${one.kind}`)} · {one.id}
                </span>
                {one.invitation && <OwnerInvited invitation={one.invitation} />}
              </div>
              {one.invitation && <InviteOwnerAgain tenant={one} email={one.invitation.email} onLink={setLink} />}
              {glass && (
                <Button
                  variant="default"
                  size="compact-sm"
                  aria-label={t('organisation.glass.beginAt', { name: one.name })}
                  onClick={() => enter(one)}
                >
                  {t('organisation.glass.begin')}
                </Button>
              )}
            </li>
          )}
        </Paged>
      </Paper>
      <Modal
        opened={making}
        onClose={make.close}
        size="lg"
        title={t('organisation.customers.add')}
        closeButtonProps={{ 'aria-label': t('common.close') }}
      >
        <NewTenant
          onClose={make.close}
          onMade={(made) => {
            setLink(made);
            make.close();
          }}
        />
      </Modal>
      <GlassModal opened={entered !== null} tenant={entered ?? undefined} onClose={() => enter(null)} />
    </>
  );
}

function NewTenant({ onClose, onMade }: { onClose(): void; onMade(link: string): void }) {
  const { t } = useText();
  const { tenant } = useMe();
  const queryClient = useQueryClient();
  const key = useRef(idempotencyKey());
  const person = usePersonFields();
  const form = useForm({
    initialValues: { kind: 'customer', tenant: '', legal: '', invite: false, ...person.initial },
    validate: {
      tenant: (v) => (v.trim() ? null : t('add.nameMissing')),
      ...person.validate,
      password: (v, { invite }) => (invite ? null : person.validate.password(v)),
    },
  });
  const make = useMutation({
    mutationFn: async (v: typeof form.values) => {
      const params = { header: { 'Idempotency-Key': key.current } };
      const { password, ...invitee } = person.body(v);
      const body = {
        kind: v.kind === 'reseller' ? ('reseller' as const) : ('customer' as const),
        name: v.tenant.trim(),
        ...(v.legal.trim() && { legal_name: v.legal.trim() }),
      };
      if (!v.invite) {
        const { name } = await call(
          api.POST('/tenants', { params, body: { ...body, owner: { ...invitee, password } } }),
        );
        return { name, link: '' };
      }
      const made = await call(api.POST('/invited-tenants', { params, body: { ...body, owner: invitee } }));
      return { name: made.tenant.name, link: made.invitation.link ?? '' };
    },
    onSuccess: async ({ name, link }) => {
      tell(t('organisation.customers.made', { name }));
      await queryClient.invalidateQueries({ queryKey: ['below'] });
      onMade(link);
    },
    onError: (thrown) => {
      key.current = idempotencyKey();
      const wrong = fieldTexts(t, asApiError(thrown), [
        'name',
        'legal_name',
        'owner.name',
        'owner.email',
        'owner.password',
      ]);
      form.setErrors({
        tenant: wrong.name,
        legal: wrong.legal_name,
        name: wrong['owner.name'],
        email: wrong['owner.email'],
        password: wrong['owner.password'],
      });
    },
  });
  const code = make.error ? asApiError(make.error).code : undefined;
  return (
    <form onSubmit={form.onSubmit((values) => make.mutate(values))} noValidate>
      <Stack gap="md">
        {code && code !== 'invalid' && (
          <Alert color="red" role="alert">
            {code === 'conflict' ? t('organisation.people.taken') : problemText(t, make.error)}
          </Alert>
        )}
        {tenant.kind === 'operator' && (
          <Select
            label={t('organisation.customers.kind')}
            allowDeselect={false}
            data={(['customer', 'reseller'] as const).map((kind) => ({
              value: kind,
              label: t(`organisation.kind.${kind}`),
            }))}
            {...form.getInputProps('kind')}
          />
        )}
        <TextInput
          label={t('organisation.customers.name')}
          maxLength={limits.name}
          data-autofocus
          {...form.getInputProps('tenant')}
        />
        <TextInput
          label={t('organisation.customers.legal')}
          description={t('organisation.customers.legalHint')}
          maxLength={limits.name}
          {...form.getInputProps('legal')}
        />
        <Text fw={600}>{t('organisation.customers.owner')}</Text>
        <TextInput
          label={t('organisation.people.name')}
          maxLength={limits.name}
          autoComplete="off"
          {...form.getInputProps('name')}
        />
        <TextInput label={t('signIn.email')} type="email" autoComplete="off" {...form.getInputProps('email')} />
        <Checkbox
          label={t('organisation.customers.invite')}
          description={t('signin.invitations.hint')}
          {...form.getInputProps('invite', { type: 'checkbox' })}
        />
        <PersonRest form={form} password={!form.values.invite} />
        <Text size="sm" c="dimmed">
          {t('organisation.customers.noAccess')}
        </Text>
        <Group justify="flex-end">
          <Button variant="default" onClick={onClose}>
            {t('common.cancel')}
          </Button>
          <Button type="submit" loading={make.isPending}>
            {t('groups.add')}
          </Button>
        </Group>
      </Stack>
    </form>
  );
}
