import { ActionIcon, Alert, Button, Group, Modal, Stack, Text, Textarea, TextInput, Title } from '@mantine/core';
import { IconPencil, IconTrash } from '@tabler/icons-react';
import { useMutation, useQuery, useQueryClient } from '@tanstack/react-query';
import { useState } from 'react';
import { api, call, idempotencyKey } from '../api/client';
import { problemText } from '../api/problemText';
import { tell, useComplain } from '../components/notify';
import { useText } from '../i18n';
import { useValueText } from './Changes';
import { parseLines, textOfLines } from './lines';
import { type Template, templatesQuery } from './queries';
import classes from './Rollout.module.css';

/** The named sets of settings. */
export function Templates({ write }: { write: boolean }) {
  const { t } = useText();
  const text = useValueText();
  const complain = useComplain();
  const queryClient = useQueryClient();
  const { data } = useQuery(templatesQuery);
  const [editing, edit] = useState<Template | 'new'>();
  const remove = useMutation({
    mutationFn: (id: string) => call(api.DELETE('/templates/{id}', { params: { path: { id } } })),
    onSettled: () => queryClient.invalidateQueries({ queryKey: templatesQuery.queryKey }),
    onError: complain,
  });
  if (!data || (data.length === 0 && !write)) return null;
  return (
    <Stack mt="xl" gap="sm">
      <div className={classes.head}>
        <Title order={2}>{t('rollout.templates.title')}</Title>
        {write && (
          <Button variant="default" onClick={() => edit('new')}>
            {t('rollout.templates.make')}
          </Button>
        )}
      </div>
      {data.length === 0 && <Text c="dimmed">{t('rollout.templates.none')}</Text>}
      {data.map((template) => (
        <Group key={template.id} justify="space-between" wrap="nowrap" align="flex-start">
          <div>
            <strong>{template.name}</strong>{' '}
            <span className={classes.muted}>{t('rollout.templates.version', { version: template.version })}</span>
            <Text size="sm" c="dimmed">
              {Object.entries(template.settings)
                .map(([key, value]) => `${key}: ${text(value)}`)
                .join(' · ')}
            </Text>
          </div>
          {write && (
            <Group gap="xs" wrap="nowrap">
              <ActionIcon
                variant="default"
                size={36}
                aria-label={t('rollout.templates.edit', { name: template.name })}
                onClick={() => edit(template)}
              >
                <IconPencil size={16} />
              </ActionIcon>
              <ActionIcon
                variant="default"
                size={36}
                aria-label={t('rollout.templates.remove', { name: template.name })}
                loading={remove.isPending && remove.variables === template.id}
                onClick={() => remove.mutate(template.id)}
              >
                <IconTrash size={16} />
              </ActionIcon>
            </Group>
          )}
        </Group>
      ))}
      <Modal
        opened={editing !== undefined}
        onClose={() => edit(undefined)}
        title={t('rollout.templates.title')}
        closeButtonProps={{ 'aria-label': t('common.close') }}
      >
        {editing && <TemplateForm template={editing === 'new' ? undefined : editing} onClose={() => edit(undefined)} />}
      </Modal>
    </Stack>
  );
}

function TemplateForm({ template, onClose }: { template: Template | undefined; onClose(): void }) {
  const { t } = useText();
  const queryClient = useQueryClient();
  const [name, setName] = useState(template?.name ?? '');
  const [text, setText] = useState(template ? textOfLines(template.settings) : '');
  const [key] = useState(idempotencyKey);
  const { values, wrong } = parseLines(text);
  const save = useMutation({
    mutationFn: () =>
      template
        ? call(
            api.PUT('/templates/{id}', {
              params: { path: { id: template.id }, header: { 'If-Match': `"${template.version}"` } },
              body: { name, settings: values },
            }),
          )
        : call(
            api.POST('/templates', {
              params: { header: { 'Idempotency-Key': key } },
              body: { name, settings: values },
            }),
          ),
    onSuccess: async () => {
      await queryClient.invalidateQueries({ queryKey: templatesQuery.queryKey });
      tell(t('rollout.settings.saved'));
      onClose();
    },
  });
  return (
    <form
      onSubmit={(e) => {
        e.preventDefault();
        save.mutate();
      }}
    >
      <Stack>
        <TextInput
          label={t('rollout.name')}
          required
          value={name}
          onChange={(e) => setName(e.currentTarget.value)}
          data-autofocus
        />
        <SettingLines text={text} wrong={wrong} onChange={setText} />
        {save.error && (
          <Alert color="red" role="alert">
            {problemText(t, save.error)}
          </Alert>
        )}
        <Group justify="flex-end">
          <Button variant="default" onClick={onClose}>
            {t('common.cancel')}
          </Button>
          <Button
            type="submit"
            loading={save.isPending}
            disabled={!name.trim() || wrong > 0 || Object.keys(values).length === 0}
          >
            {t('rollout.settings.save')}
          </Button>
        </Group>
      </Stack>
    </form>
  );
}

/** Settings as lines of key and value. */
export function SettingLines({ text, wrong, onChange }: { text: string; wrong: number; onChange(text: string): void }) {
  const { t } = useText();
  return (
    <Textarea
      label={t('rollout.lines.label')}
      description={t('rollout.lines.hint')}
      placeholder="ntp_server = pool.ntp.org"
      required
      autosize
      minRows={4}
      maxRows={16}
      spellCheck={false}
      value={text}
      error={wrong > 0 ? t('rollout.lines.wrong', { line: wrong }) : undefined}
      onChange={(e) => onChange(e.currentTarget.value)}
    />
  );
}
