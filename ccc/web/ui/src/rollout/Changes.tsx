import { Table } from '@mantine/core';
import { useText } from '../i18n';
import type { SettingChange, SettingKey, Value } from './queries';
import classes from './Rollout.module.css';
import { textOf } from './values';

/** What a setting is called: by the PBX in the language of the page, or by its key. */
export function useLabel(): (key: string, schema?: readonly SettingKey[]) => string {
  const { t, language } = useText();
  return (key, schema) => {
    // What rollouts of firmware change.
    if (key === 'firmware' && !schema) return t('firmware.title');
    return schema?.find((s) => s.key === key)?.labels[language] ?? key;
  };
}

/** A value as it is shown. */
export function useValueText(): (value: unknown) => string {
  const { t } = useText();
  return (value) => {
    if (value === undefined) return '–';
    if (typeof value === 'boolean') return value ? t('rollout.value.yes') : t('rollout.value.no');
    const text = textOf(value as Value);
    return text === '' ? t('rollout.value.empty') : text;
  };
}

/** What becomes of settings, line by line. */
export function Changes({
  changes,
  schema,
}: {
  changes: readonly SettingChange[];
  schema?: readonly SettingKey[] | undefined;
}) {
  const { t } = useText();
  const label = useLabel();
  const text = useValueText();
  return (
    // biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls can be scrolled by keyboard
    <section className={classes.table} aria-label={t('rollout.changes')} tabIndex={0}>
      <Table verticalSpacing="xs">
        <Table.Thead>
          <Table.Tr>
            <Table.Th>{t('rollout.setting')}</Table.Th>
            <Table.Th>{t('rollout.old')}</Table.Th>
            <Table.Th>{t('rollout.new')}</Table.Th>
          </Table.Tr>
        </Table.Thead>
        <Table.Tbody>
          {changes.map((change) => (
            <Table.Tr key={change.key}>
              <Table.Td>{label(change.key, schema)}</Table.Td>
              <Table.Td className={classes.old}>{text(change.old)}</Table.Td>
              <Table.Td className={classes.new}>{text(change.new)}</Table.Td>
            </Table.Tr>
          ))}
        </Table.Tbody>
      </Table>
    </section>
  );
}
