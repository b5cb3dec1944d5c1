import { Button, Stack, TextInput } from '@mantine/core';
import { type FormEvent, useState } from 'react';
import { useText } from '../i18n';

/** Asks for a code and hands it on; empty ones are not. */
export function CodeForm({
  label,
  submit,
  digits,
  error,
  pending,
  onCode,
}: {
  label: string;
  submit: string;
  digits: boolean;
  error?: string | undefined;
  pending: boolean;
  onCode(code: string): void;
}) {
  const { t } = useText();
  const [code, setCode] = useState('');
  const [missing, setMissing] = useState(false);
  const send = (e: FormEvent) => {
    e.preventDefault();
    setMissing(!code.trim());
    if (code.trim()) onCode(code.trim());
  };
  return (
    <form onSubmit={send} noValidate>
      <Stack gap="md">
        <TextInput
          label={label}
          size="md"
          autoComplete={digits ? 'one-time-code' : 'off'}
          inputMode={digits ? 'numeric' : 'text'}
          autoCapitalize="characters"
          spellCheck={false}
          maxLength={40}
          data-autofocus
          autoFocus
          value={code}
          error={missing ? t('field.required') : error}
          onChange={(e) => {
            setCode(e.currentTarget.value);
            setMissing(false);
          }}
        />
        <Button type="submit" size="md" loading={pending} fullWidth>
          {submit}
        </Button>
      </Stack>
    </form>
  );
}
