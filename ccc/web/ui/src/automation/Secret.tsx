import { Button, CopyButton, Group, Stack, Text } from '@mantine/core';
import { useText } from '../i18n';
import classes from './Automation.module.css';

/** Shows a secret, this once. */
export function Secret({ secret, onDone }: { secret: string; onDone(): void }) {
  const { t } = useText();
  return (
    <Stack>
      <Text>{t('automation.secretShown')}</Text>
      <code className={classes.secret} data-testid="secret">
        {secret}
      </code>
      <Group justify="flex-end">
        <CopyButton value={secret}>
          {({ copied, copy }) => (
            <Button variant="default" onClick={copy}>
              {copied ? t('setup.copied') : t('automation.copy')}
            </Button>
          )}
        </CopyButton>
        <Button onClick={onDone}>{t('automation.noted')}</Button>
      </Group>
    </Stack>
  );
}
