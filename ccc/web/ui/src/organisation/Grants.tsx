import { Alert, Button, Checkbox, Group, Modal, Stack, Text, TextInput } from '@mantine/core';
import { useForm } from '@mantine/form';
import { useDisclosure } from '@mantine/hooks';
import { IconKey } from '@tabler/icons-react';
import { useMutation, useQuery, useQueryClient } from '@tanstack/react-query';
import { useRef, useState } from 'react';
import { api, call, idempotencyKey } from '../api/client';
import { asApiError } from '../api/problem';
import { fieldTexts, problemText } from '../api/problemText';
import { inTenant } from '../api/tenant';
import type { RoleInfo, TenantGrant } from '../api/types';
import { useMay } from '../app/meta';
import { useComplain } from '../components/notify';
import { useText } from '../i18n';
import { dateTime } from '../time/format';
import { Needs } from './Needs';
import classes from './Organisation.module.css';
import { Listed } from './Paged';
import { type Part, PartSelect, usePartName } from './Part';
import { grantsQuery, rolesQuery, tenantsQuery } from './queries';
import { Permits } from './RolesEditor';
import { TenantField } from './Tenants';

/** What the tenant lets others do. */
export function GrantsGiven() {
  const { t } = useText();
  const { whole } = useMay();
  const grants = useQuery(grantsQuery);
  const [open, modal] = useDisclosure(false);
  return (
    <>
      <Text c="dimmed" mb="sm">
        {t('organisation.grants.lead')}
      </Text>
      <Listed result={grants} empty={t('organisation.grants.none')}>
        {(grant) => <Given key={grant.id} grant={grant} />}
      </Listed>
      {whole('grants.manage') ? (
        <Button variant="default" mt="md" leftSection={<IconKey size={16} />} onClick={modal.open}>
          {t('organisation.grants.add')}
        </Button>
      ) : (
        <Needs verb="grants.manage" />
      )}
      <Modal
        opened={open}
        onClose={modal.close}
        size="lg"
        title={t('organisation.grants.add')}
        closeButtonProps={{ 'aria-label': t('common.close') }}
      >
        <NewGrant onClose={modal.close} />
      </Modal>
    </>
  );
}

function Given({ grant }: { grant: TenantGrant }) {
  const { t, language } = useText();
  const { whole } = useMay();
  const partName = usePartName();
  const complain = useComplain();
  const queryClient = useQueryClient();
  const [asked, setAsked] = useState(false);
  const revoke = useMutation({
    mutationFn: () => call(api.DELETE('/grants/{id}', { params: { path: { id: grant.id } } })),
    onSuccess: () => queryClient.invalidateQueries({ queryKey: grantsQuery.queryKey }),
    onError: complain,
  });
  const name = grant.name ?? grant.tenant_id;
  const until = grant.until ? dateTime(grant.until, language) : '';
  const time = !until
    ? t('organisation.grants.standing')
    : t(grant.over ? 'organisation.grants.ended' : 'organisation.grants.until', { time: until });
  return (
    <li className={classes.item} data-over={grant.over}>
      <div className={classes.what}>
        <span className={classes.name}>{name}</span>
        <span className={classes.more}>
          {[
            grant.roles.map((role) => t(`role.${role}`)).join(', '),
            partName(grant) || t('organisation.part.all'),
          ].join(' · ')}
        </span>
        <span className={classes.more}>
          {time} ·{' '}
          {t('organisation.grants.by', {
            name: grant.by.name || t('timeline.formerUser'),
            time: dateTime(grant.created_at, language),
          })}
        </span>
      </div>
      {whole('grants.manage') && (
        <Button
          size="compact-sm"
          variant={asked ? 'filled' : 'default'}
          {...(asked && { color: 'red' })}
          loading={revoke.isPending}
          aria-label={asked ? undefined : t('organisation.grants.revokeName', { name })}
          onClick={() => (asked ? revoke.mutate() : setAsked(true))}
        >
          {t(asked ? 'organisation.grants.revokeSure' : 'organisation.grants.revoke')}
        </Button>
      )}
    </li>
  );
}

/** The end of a day that was chosen, where the person is. */
function endOf(date: string): string {
  return new Date(`${date}T23:59:59`).toISOString();
}

function NewGrant({ onClose }: { onClose(): void }) {
  const { t } = useText();
  const queryClient = useQueryClient();
  const key = useRef(idempotencyKey());
  const { data } = useQuery(rolesQuery);
  const grantable = data?.items.filter(({ granted }) => granted.length > 0) ?? [];
  const form = useForm({
    initialValues: { tenant: '', roles: [] as RoleInfo['role'][], part: {} as Part, until: '' },
    validate: {
      tenant: (v) => (v ? null : t('field.required')),
      roles: (v) => (v.length > 0 ? null : t('organisation.grants.rolesMissing')),
    },
  });
  const make = useMutation({
    mutationFn: (v: typeof form.values) =>
      call(
        api.POST('/grants', {
          params: { header: { 'Idempotency-Key': key.current } },
          body: {
            tenant_id: v.tenant,
            roles: v.roles as TenantGrant['roles'],
            ...v.part,
            ...(v.until && { until: endOf(v.until) }),
          },
        }),
      ),
    onSuccess: async () => {
      await queryClient.invalidateQueries({ queryKey: grantsQuery.queryKey });
      onClose();
    },
    onError: (thrown) => {
      key.current = idempotencyKey();
      const { tenant_id, ...wrong } = fieldTexts(t, asApiError(thrown), ['tenant_id', 'roles', 'until']);
      form.setErrors({ ...wrong, ...(tenant_id && { tenant: tenant_id }) });
    },
  });
  const failed = make.error && asApiError(make.error).code !== 'invalid';
  return (
    <form onSubmit={form.onSubmit((values) => make.mutate(values))} noValidate>
      <Stack gap="md">
        {failed && (
          <Alert color="red" role="alert">
            {problemText(t, make.error)}
          </Alert>
        )}
        <TenantField {...(form.getInputProps('tenant') as Parameters<typeof TenantField>[0])} />
        <Checkbox.Group label={t('organisation.roles.title')} {...form.getInputProps('roles')}>
          <Stack gap="xs" mt="xs">
            {grantable.map(({ role, granted }) => (
              <div key={role}>
                <Checkbox value={role} label={t(`role.${role}`)} />
                <Permits verbs={granted} />
              </div>
            ))}
          </Stack>
        </Checkbox.Group>
        <PartSelect value={form.values.part} onChange={(part) => form.setFieldValue('part', part)} />
        <TextInput
          type="date"
          label={t('organisation.grants.end')}
          description={t('organisation.grants.endHint')}
          {...form.getInputProps('until')}
        />
        <Text size="sm" c="dimmed">
          {t('organisation.grants.next')}
        </Text>
        <Group justify="flex-end">
          <Button variant="default" onClick={onClose}>
            {t('common.cancel')}
          </Button>
          <Button type="submit" loading={make.isPending}>
            {t('organisation.grants.submit')}
          </Button>
        </Group>
      </Stack>
    </form>
  );
}

/** What others let the person's tenant do, as far as he may do it. */
export function GrantsReceived() {
  const { t, language } = useText();
  const { data, error, isPending } = useQuery(tenantsQuery);
  const others = data?.filter(({ via }) => via === 'grant');
  return (
    <Listed result={{ data: others, error, isPending }} empty={t('organisation.grants.noneReceived')}>
      {(one) => (
        <li key={one.id} className={classes.item}>
          <div className={classes.what}>
            <span className={classes.name}>{one.name}</span>
            <span className={classes.more}>{one.roles?.map((role) => t(`role.${role}`)).join(', ')}</span>
            <span className={classes.more}>
              {one.until
                ? t('organisation.grants.until', { time: dateTime(one.until, language) })
                : t('organisation.grants.standing')}
            </span>
          </div>
          <Button component="a" variant="default" size="compact-sm" href={inTenant('/', one.id)}>
            {t('organisation.grants.enter')}
          </Button>
        </li>
      )}
    </Listed>
  );
}
