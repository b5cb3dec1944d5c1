import { Alert, Button, Stack, Text } from '@mantine/core';
import { problemText } from '../api/problemText';
import { useText } from '../i18n';

/** Says that somebody else was faster, and that what there is now could not be read. */
export function Unread({ error, busy, onRetry }: { error: unknown; busy: boolean; onRetry(): void }) {
  const { t } = useText();
  return (
    <Alert color="red" role="alert" mt="md" title={t('rollout.conflict.title')}>
      <Stack gap="sm" align="flex-start">
        <Text size="sm">{t('rollout.conflict.unread', { reason: problemText(t, error) })}</Text>
        <Button variant="default" size="compact-sm" loading={busy} onClick={onRetry}>
          {t('failure.retry')}
        </Button>
      </Stack>
    </Alert>
  );
}
