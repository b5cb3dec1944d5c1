import { NativeSelect, TextInput } from '@mantine/core';
import { useText } from '../i18n';
import { useLabel } from './Changes';
import type { SettingKey } from './queries';

interface Props {
  setting: SettingKey;
  value: string;
  disabled?: boolean;
  error?: string | undefined;
  onChange(value: string): void;
}

/** One setting of a PBX, as its schema says it is. */
export function SettingInput({ setting, value, disabled = false, error, onChange }: Props) {
  const { t } = useText();
  const label = useLabel()(setting.key, [setting]);
  const description = setting.restart_needed ? t('rollout.restartNeeded') : undefined;
  const common = { label, description, disabled, error, value };
  if (setting.type === 'boolean' || (setting.type === 'string' && setting.enum)) {
    const data =
      setting.type === 'boolean'
        ? [
            { value: 'true', label: t('rollout.value.yes') },
            { value: 'false', label: t('rollout.value.no') },
          ]
        : (setting.enum ?? []);
    return <NativeSelect {...common} data={data} onChange={(e) => onChange(e.currentTarget.value)} />;
  }
  return (
    <TextInput
      {...common}
      inputMode={setting.type === 'integer' ? 'numeric' : 'text'}
      placeholder={setting.type === 'list' ? t('rollout.listHint') : ''}
      onChange={(e) => onChange(e.currentTarget.value)}
    />
  );
}
