import { Alert, Button, Group, Stack, Textarea, TextInput } from '@mantine/core';
import { useForm } from '@mantine/form';
import { IconAlertCircle } from '@tabler/icons-react';
import { useState } from 'react';
import { limits } from '../api/generated/limits';
import { type ApiError, asApiError } from '../api/problem';
import { fieldTexts, problemText } from '../api/problemText';
import type { System, Group as SystemGroup } from '../api/types';
import { useMay } from '../app/meta';
import { GroupsInput, TagsField } from '../components/LabelInputs';
import { changeSystem, fleet } from '../fleet/store';
import { useText } from '../i18n';
import { SiteSelect } from '../organisation/SiteSelect';

interface Values {
  name: string;
  note: string;
  tags: string[];
  groups: SystemGroup[];
  site: string;
}

/**
 * Changes what people say about a system. The page shows it at once; where the server
 * refuses, the page shows what the server has, and the form keeps what was typed.
 */
export function EditForm({ system, onClose }: { system: System; onClose(): void }) {
  const { t } = useText();
  const moves = useMay().whole('users.manage');
  const [saving, setSaving] = useState(false);
  const [error, setError] = useState<ApiError | null>(null);
  const form = useForm<Values>({
    initialValues: {
      name: system.name,
      note: system.note,
      tags: system.tags,
      groups: system.groups,
      site: system.site_id ?? '',
    },
    validate: { name: (v) => (v.trim() === '' ? t('add.nameMissing') : null) },
  });
  const save = async ({ name, note, tags, groups, site }: Values) => {
    const shown = { name: name.trim(), note: note.trim(), tags, groups };
    // The newest version, so that after a refusal a second click is meant.
    const now = fleet.get(system.id) ?? system;
    setSaving(true);
    try {
      const moved = moves && site !== (now.site_id ?? '');
      await changeSystem(now, { ...shown, groups: groups.map((g) => g.id), ...(moved && { site_id: site }) }, shown);
      onClose();
    } catch (thrown) {
      const failed = asApiError(thrown);
      form.setErrors(fieldTexts(t, failed, ['name', 'note', 'tags', 'groups']));
      setError(failed);
    } finally {
      setSaving(false);
    }
  };
  return (
    <form onSubmit={form.onSubmit((values) => void save(values))} noValidate>
      <Stack gap="md">
        {error && (
          <Alert color={error.code === 'version' ? 'yellow' : 'red'} icon={<IconAlertCircle size={18} />} role="alert">
            {error.code === 'version' ? t('edit.conflict') : problemText(t, error)}
          </Alert>
        )}
        <TextInput label={t('system.name')} maxLength={limits.name} data-autofocus {...form.getInputProps('name')} />
        {moves && <SiteSelect {...form.getInputProps('site')} />}
        <GroupsInput {...form.getInputProps('groups')} />
        <TagsField {...form.getInputProps('tags')} />
        <Textarea
          label={t('system.note')}
          autosize
          minRows={3}
          maxRows={12}
          maxLength={limits.note}
          {...form.getInputProps('note')}
        />
        <Group justify="flex-end">
          <Button variant="default" onClick={onClose}>
            {t('common.cancel')}
          </Button>
          <Button type="submit" loading={saving}>
            {t('common.save')}
          </Button>
        </Group>
      </Stack>
    </form>
  );
}
