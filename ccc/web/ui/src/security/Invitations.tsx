import { Alert, Button, Group, Modal, Paper, Select, Stack, Text, TextInput, Title } from '@mantine/core';
import { useForm } from '@mantine/form';
import { useDisclosure } from '@mantine/hooks';
import { IconMailPlus } from '@tabler/icons-react';
import { queryOptions, useMutation, useQuery, useQueryClient } from '@tanstack/react-query';
import { useRef, useState } from 'react';
import { api, call, idempotencyKey } from '../api/client';
import { limits } from '../api/generated/limits';
import { asApiError } from '../api/problem';
import { fieldTexts, problemText } from '../api/problemText';
import type { Invitation, RoleGrant } from '../api/types';
import { useMay } from '../app/meta';
import { languageNames } from '../components/Foot';
import { tell, useComplain } from '../components/notify';
import { languages, useText } from '../i18n';
import { RolesEditor } from '../organisation/RolesEditor';
import { dateTime } from '../time/format';
import { LinkOnce } from './LinkOnce';
import classes from './Security.module.css';

const invitationsQuery = queryOptions({
  queryKey: ['invitations'],
  queryFn: () => call(api.GET('/invitations')),
  // A mail may be on its way.
  refetchInterval: (query) => (query.state.data?.items.some(({ mail }) => mail === 'queued') ? 3000 : false),
});

/** Who is invited and has not come yet, with what can be done about it. */
export function Invitations() {
  const { t } = useText();
  const { whole } = useMay();
  const [opened, modal] = useDisclosure(false);
  const { data } = useQuery({ ...invitationsQuery, enabled: whole('users.read') });
  const [link, setLink] = useState('');
  const items = data?.items ?? [];
  if (!whole('users.manage') && items.length === 0) return null;
  return (
    <Paper withBorder radius="lg" className={classes.section} component="section" aria-labelledby="invitations" mt="lg">
      <Group justify="space-between" mb="sm">
        <Title order={2} id="invitations">
          {t('signin.invitations.title')}
        </Title>
        {whole('users.manage') && (
          <Button variant="default" leftSection={<IconMailPlus size={16} />} onClick={modal.open}>
            {t('signin.invitations.invite')}
          </Button>
        )}
      </Group>
      {link && <LinkOnce link={link} />}
      <Stack gap="xs">
        {items.map((invitation) => (
          <Line key={invitation.id} invitation={invitation} onLink={setLink} />
        ))}
      </Stack>
      <Modal
        opened={opened}
        onClose={modal.close}
        size="lg"
        title={t('signin.invitations.inviteTitle')}
        closeButtonProps={{ 'aria-label': t('common.close') }}
      >
        <InviteForm
          onClose={modal.close}
          onMade={(made) => {
            setLink(made.link ?? '');
            modal.close();
          }}
        />
      </Modal>
    </Paper>
  );
}

function Line({ invitation, onLink }: { invitation: Invitation; onLink(link: string): void }) {
  const { t, language } = useText();
  const { whole } = useMay();
  const complain = useComplain();
  const queryClient = useQueryClient();
  const changed = () => queryClient.invalidateQueries({ queryKey: ['invitations'] });
  const [sure, setSure] = useState(false);
  const path = { params: { path: { id: invitation.id } } };
  const again = useMutation({
    mutationFn: () => call(api.POST('/invitations/{id}/mail', path)),
    onSuccess: (made) => {
      onLink(made.link ?? '');
      if (!made.link) tell(t('signin.invitations.sent', { email: invitation.email }));
      return changed();
    },
    onError: complain,
  });
  const withdraw = useMutation({
    mutationFn: () => call(api.DELETE('/invitations/{id}', path)),
    onSuccess: changed,
    onError: complain,
  });
  const { name } = invitation;
  return (
    <Group justify="space-between" data-testid="invitation">
      <div>
        <Text fw={500}>{name}</Text>
        <Text size="sm" c="dimmed">
          {invitation.email} ·{' '}
          {invitation.expired
            ? t('signin.invitations.expired')
            : t('signin.invitations.expires', { time: dateTime(invitation.expires_at, language) })}{' '}
          · {t(`signin.invitations.mail.${invitation.mail}`, { failure: invitation.failure ?? '' })}
        </Text>
      </div>
      {whole('users.manage') && (
        <Group gap="xs">
          <Button size="xs" variant="default" loading={again.isPending} onClick={() => again.mutate()}>
            {t('signin.invitations.resend', { name })}
          </Button>
          <Button
            size="xs"
            variant={sure ? 'filled' : 'default'}
            color={sure ? 'red' : 'gray'}
            loading={withdraw.isPending}
            onClick={() => (sure ? withdraw.mutate() : setSure(true))}
          >
            {sure ? t('signin.invitations.withdrawSure') : t('signin.invitations.withdraw', { name })}
          </Button>
        </Group>
      )}
    </Group>
  );
}

function InviteForm({ onClose, onMade }: { onClose(): void; onMade(made: Invitation): void }) {
  const { t, language } = useText();
  const queryClient = useQueryClient();
  const key = useRef(idempotencyKey());
  const form = useForm({
    initialValues: { name: '', email: '', language: language as string, roles: [] as RoleGrant[] },
    validate: {
      name: (v) => (v.trim() ? null : t('field.required')),
      email: (v) => (v.includes('@') && v.trim().length > 2 ? null : t('signIn.emailMissing')),
    },
  });
  const invite = useMutation({
    mutationFn: (v: typeof form.values) =>
      call(
        api.POST('/invitations', {
          params: { header: { 'Idempotency-Key': key.current } },
          body: {
            name: v.name.trim(),
            email: v.email.trim(),
            language: languages.find((l) => l === v.language) ?? language,
            roles: v.roles,
          },
        }),
      ),
    onSuccess: async (made) => {
      tell(t('signin.invitations.sent', { email: made.email }));
      await queryClient.invalidateQueries({ queryKey: ['invitations'] });
      onMade(made);
    },
    onError: (thrown) => {
      key.current = idempotencyKey();
      form.setErrors(fieldTexts(t, asApiError(thrown), ['name', 'email', 'roles']));
    },
  });
  const code = invite.error ? asApiError(invite.error).code : undefined;
  return (
    <form onSubmit={form.onSubmit((values) => invite.mutate(values))} noValidate>
      <Stack gap="md">
        <Text size="sm">{t('signin.invitations.hint')}</Text>
        {code && code !== 'invalid' && (
          <Alert color="red" role="alert">
            {code === 'conflict' ? t('signin.invitations.already') : problemText(t, invite.error)}
          </Alert>
        )}
        <TextInput
          label={t('organisation.people.name')}
          maxLength={limits.name}
          data-autofocus
          {...form.getInputProps('name')}
        />
        <TextInput label={t('signIn.email')} type="email" autoComplete="off" {...form.getInputProps('email')} />
        <Select
          label={t('signin.language')}
          allowDeselect={false}
          data={languages.map((l) => ({ value: l, label: languageNames[l] }))}
          {...form.getInputProps('language')}
        />
        <RolesEditor
          value={form.values.roles}
          onChange={(roles) => form.setFieldValue('roles', roles)}
          error={typeof form.errors.roles === 'string' ? form.errors.roles : undefined}
        />
        <Group justify="flex-end">
          <Button variant="default" onClick={onClose}>
            {t('common.cancel')}
          </Button>
          <Button type="submit" loading={invite.isPending}>
            {t('signin.invitations.send')}
          </Button>
        </Group>
      </Stack>
    </form>
  );
}
