import {
  Alert,
  Anchor,
  Button,
  Collapse,
  Container,
  Group,
  Paper,
  Stack,
  Textarea,
  TextInput,
  Title,
  UnstyledButton,
} from '@mantine/core';
import { useForm } from '@mantine/form';
import { useDisclosure } from '@mantine/hooks';
import { IconAlertCircle, IconChevronDown } from '@tabler/icons-react';
import { useMutation, useQueryClient } from '@tanstack/react-query';
import { Link, useNavigate } from '@tanstack/react-router';
import { useRef } from 'react';
import { api, call, idempotencyKey } from '../api/client';
import { limits } from '../api/generated/limits';
import { asApiError } from '../api/problem';
import { fieldTexts, problemText } from '../api/problemText';
import type { Group as SystemGroup } from '../api/types';
import { useTitle } from '../app/useTitle';
import { BackLink } from '../components/BackLink';
import { GroupsInput, TagsField } from '../components/LabelInputs';
import { SerialInput } from '../components/SerialInput';
import { fleet } from '../fleet/store';
import { useText } from '../i18n';
import { isSerial, normalSerial } from '../serial';
import { offerKey } from '../setup/offer';
import classes from './Add.module.css';

interface Values {
  serial: string;
  name: string;
  note: string;
  tags: string[];
  groups: SystemGroup[];
}

/** The first step of adding a PBX: which one it is, and what it is called. */
export function AddPage() {
  const { t } = useText();
  const navigate = useNavigate();
  const queryClient = useQueryClient();
  const [more, { toggle }] = useDisclosure(false);
  // A second click, or a second try after a lost answer, is the same request.
  const key = useRef({ body: '', key: '' });
  useTitle(t('add.title'));

  const form = useForm<Values>({
    initialValues: { serial: '', name: '', note: '', tags: [], groups: [] },
    validateInputOnBlur: ['serial'],
    validate: {
      serial: (v) => (normalSerial(v) === '' ? t('add.serialMissing') : isSerial(v) ? null : t('add.serialWrong')),
      name: (v) => (v.trim() === '' ? t('add.nameMissing') : null),
    },
  });

  const save = useMutation({
    mutationFn: (v: Values) => {
      const body = {
        serial: normalSerial(v.serial),
        name: v.name.trim(),
        note: v.note.trim(),
        tags: v.tags,
        groups: v.groups.map((g) => g.id),
      };
      const text = JSON.stringify(body);
      if (key.current.body !== text) key.current = { body: text, key: idempotencyKey() };
      return call(api.POST('/systems', { params: { header: { 'Idempotency-Key': key.current.key } }, body }));
    },
    onSuccess: async ({ system, offer }) => {
      fleet.put(system);
      queryClient.setQueryData(offerKey(system.id), offer);
      await navigate({ to: '/systems/$id/setup', params: { id: system.id } });
    },
    onError: (thrown) => {
      const error = asApiError(thrown);
      form.setErrors({
        ...fieldTexts(t, error, ['serial', 'name', 'note', 'tags', 'groups']),
        ...(error.code === 'serial_taken_by_you' && { serial: problemText(t, error) }),
      });
    },
  });
  const code = save.error ? asApiError(save.error).code : undefined;
  const existing =
    code === 'serial_taken_by_you'
      ? [...fleet.all()].find((s) => s.serial === normalSerial(form.values.serial))
      : undefined;

  return (
    <Container size="sm" className={classes.page}>
      <BackLink to="/" label={t('fleet.title')} />
      <Title order={1}>{t('add.title')}</Title>
      <p className={classes.lead}>
        {t('add.lead')}{' '}
        <Anchor underline="always" renderRoot={(props) => <Link {...props} to="/onboarding" />}>
          {t('onboarding.from')}
        </Anchor>
      </p>
      <Paper withBorder radius="lg" className={classes.card}>
        <form onSubmit={form.onSubmit((values) => save.mutate(values))} noValidate>
          <Stack gap="lg">
            {code && code !== 'serial_taken_by_you' && code !== 'invalid' && (
              <Alert color="red" icon={<IconAlertCircle size={18} />} role="alert">
                {problemText(t, save.error)}
              </Alert>
            )}
            <SerialInput
              label={t('add.serial')}
              description={t('add.serialHint')}
              autoFocus
              required
              withAsterisk={false}
              {...form.getInputProps('serial')}
              error={
                form.errors.serial && existing ? (
                  <>
                    {form.errors.serial}{' '}
                    <Anchor
                      size="xs"
                      renderRoot={(props) => <Link {...props} to="/systems/$id" params={{ id: existing.id }} />}
                    >
                      {t('add.openExisting', { name: existing.name })}
                    </Anchor>
                  </>
                ) : (
                  form.errors.serial
                )
              }
            />
            <TextInput
              label={t('system.name')}
              description={t('add.nameHint')}
              maxLength={limits.name}
              size="md"
              required
              withAsterisk={false}
              {...form.getInputProps('name')}
            />
            <div>
              <UnstyledButton className={classes.more} onClick={toggle} aria-expanded={more} aria-controls="more">
                <IconChevronDown size={16} data-open={more} aria-hidden="true" />
                {t('add.more')}
              </UnstyledButton>
              <Collapse expanded={more} id="more">
                <Stack gap="md" pt="md">
                  <GroupsInput {...form.getInputProps('groups')} />
                  <TagsField {...form.getInputProps('tags')} />
                  <Textarea
                    label={t('system.note')}
                    autosize
                    minRows={2}
                    maxRows={8}
                    maxLength={limits.note}
                    {...form.getInputProps('note')}
                  />
                </Stack>
              </Collapse>
            </div>
            <Group justify="flex-end">
              <Button variant="default" renderRoot={(props) => <Link {...props} to="/" />}>
                {t('common.cancel')}
              </Button>
              <Button type="submit" loading={save.isPending}>
                {t('add.submit')}
              </Button>
            </Group>
          </Stack>
        </form>
      </Paper>
    </Container>
  );
}
