import { Button, Group, Stack, Text } from '@mantine/core';
import { useClipboard } from '@mantine/hooks';
import { useText } from '../i18n';
import classes from './Security.module.css';

/** Shows recovery codes, this once. */
export function RecoveryCodes({ codes, onKept }: { codes: string[]; onKept(): void }) {
  const { t } = useText();
  const clipboard = useClipboard({ timeout: 2500 });
  return (
    <Stack gap="md">
      <Text size="sm">{t('security.codes.text')}</Text>
      <ul className={classes.codes} data-testid="recovery-codes">
        {codes.map((code) => (
          <li key={code}>{code}</li>
        ))}
      </ul>
      <Group justify="flex-end">
        <Button variant="default" onClick={() => clipboard.copy(codes.join('\n'))}>
          <span aria-live="polite">{clipboard.copied ? t('security.codes.copied') : t('security.codes.copy')}</span>
        </Button>
        <Button onClick={onKept} data-autofocus>
          {t('security.codes.kept')}
        </Button>
      </Group>
    </Stack>
  );
}
