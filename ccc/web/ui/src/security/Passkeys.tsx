import { ActionIcon, Button, Group, Modal, Stack, Text, TextInput } from '@mantine/core';
import { IconPencil, IconTrash } from '@tabler/icons-react';
import { useQuery, useQueryClient } from '@tanstack/react-query';
import { type FormEvent, useState } from 'react';
import { api, ask, call } from '../api/client';
import type { Passkey } from '../api/types';
import { useMeta } from '../app/meta';
import { tell, useComplain } from '../components/notify';
import { useText } from '../i18n';
import { dateTime } from '../time/format';
import { failureText } from './failure';
import { useProven } from './Prove';
import { addPasskey, NoPasskey, passkeysPossible } from './passkeys';
import { passkeysQuery } from './queries';
import { RecoveryCodes } from './RecoveryCodes';
import { Section } from './Section';
import classes from './Security.module.css';

/** The person's passkeys. */
export function PasskeysSection() {
  const { t, language } = useText();
  const meta = useMeta();
  const run = useProven();
  const complain = useComplain();
  const queryClient = useQueryClient();
  const { data } = useQuery(passkeysQuery);
  const [named, setNamed] = useState<Passkey | 'new' | null>(null);
  const [codes, setCodes] = useState<string[]>([]);
  const [asked, setAsked] = useState<string | null>(null);
  const [failed, setFailed] = useState('');
  const refresh = () => queryClient.invalidateQueries({ queryKey: ['account'] });

  const save = (name: string) => {
    const key = named;
    setFailed('');
    if (key === 'new')
      return run(async () => {
        try {
          const added = await addPasskey(name);
          tell(t('security.passkeys.added'));
          setNamed(null);
          setCodes(added.codes);
          await refresh();
        } catch (thrown) {
          if (!(thrown instanceof NoPasskey)) throw thrown;
          setFailed(failureText(t, thrown));
        }
      });
    if (!key) return Promise.resolve();
    return call(api.PATCH('/account/passkeys/{passkey}', { params: { path: { passkey: key.id } }, body: { name } }))
      .then(() => {
        setNamed(null);
        return refresh();
      })
      .catch(complain);
  };
  const remove = (key: Passkey) =>
    run(async () => {
      setAsked(null);
      await ask(api.DELETE('/account/passkeys/{passkey}', { params: { path: { passkey: key.id } } }));
      await refresh();
    });
  const possible = meta.passkeys && passkeysPossible;

  return (
    <Section id="passkeys" title={t('security.passkeys.title')}>
      <Text c="dimmed">{t('security.passkeys.text')}</Text>
      {data?.items.length === 0 && <Text mt="xs">{t('security.passkeys.none')}</Text>}
      <ul className={classes.list}>
        {data?.items.map((key) => (
          <li key={key.id} className={classes.item}>
            <div className={classes.what}>
              <Text fw={600}>{key.name}</Text>
              <Text size="sm" c="dimmed">
                {t('security.passkeys.created', { time: dateTime(key.created_at, language) })}
                {' · '}
                {key.last_used_at
                  ? t('security.passkeys.used', { time: dateTime(key.last_used_at, language) })
                  : t('security.passkeys.unused')}
              </Text>
            </div>
            <ActionIcon
              variant="subtle"
              color="gray"
              aria-label={t('security.passkeys.rename', { name: key.name })}
              onClick={() => setNamed(key)}
            >
              <IconPencil size={17} />
            </ActionIcon>
            {asked === key.id ? (
              <Button size="compact-sm" color="red" onClick={() => void remove(key)}>
                {t('security.passkeys.removeSure')}
              </Button>
            ) : (
              <ActionIcon
                variant="subtle"
                color="gray"
                aria-label={t('security.passkeys.remove', { name: key.name })}
                onClick={() => setAsked(key.id)}
              >
                <IconTrash size={17} />
              </ActionIcon>
            )}
          </li>
        ))}
      </ul>
      {possible ? (
        <Button variant="default" mt="md" onClick={() => setNamed('new')}>
          {t('security.passkeys.add')}
        </Button>
      ) : (
        <Text size="sm" c="dimmed" mt="md">
          {t('security.passkeys.notHere')}
        </Text>
      )}
      <Modal
        opened={named !== null}
        onClose={() => setNamed(null)}
        title={named === 'new' ? t('security.passkeys.add') : t('security.passkeys.name')}
        closeButtonProps={{ 'aria-label': t('common.close') }}
      >
        {named && (
          <NameForm name={named === 'new' ? '' : named.name} failed={failed} onName={(name) => void save(name)} />
        )}
      </Modal>
      <Modal
        opened={codes.length > 0}
        onClose={() => setCodes([])}
        title={t('security.codes.title')}
        closeButtonProps={{ 'aria-label': t('common.close') }}
      >
        <RecoveryCodes codes={codes} onKept={() => setCodes([])} />
      </Modal>
    </Section>
  );
}

function NameForm({ name, failed, onName }: { name: string; failed: string; onName(name: string): void }) {
  const { t } = useText();
  const [value, setValue] = useState(name);
  const [missing, setMissing] = useState(false);
  const send = (e: FormEvent) => {
    e.preventDefault();
    setMissing(!value.trim());
    if (value.trim()) onName(value.trim());
  };
  return (
    <form onSubmit={send} noValidate>
      <Stack>
        <TextInput
          label={t('security.passkeys.name')}
          description={t('security.passkeys.nameHint')}
          maxLength={60}
          data-autofocus
          value={value}
          error={missing ? t('field.required') : failed}
          onChange={(e) => setValue(e.currentTarget.value)}
        />
        <Group justify="flex-end">
          <Button type="submit">{t('common.save')}</Button>
        </Group>
      </Stack>
    </form>
  );
}
