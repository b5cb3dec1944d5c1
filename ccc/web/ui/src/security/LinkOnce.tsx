import { Alert, Code, Text } from '@mantine/core';
import { useText } from '../i18n';

/** The link of an invitation that no mail tells, with this site's address where the server does not know that. */
export function LinkOnce({ link }: { link: string }) {
  const { t } = useText();
  return (
    <Alert color="yellow" mb="sm" role="status">
      <Text size="sm" mb={4}>
        {t('signin.invitations.linkText')}
      </Text>
      <Code block data-testid="invitation-link">
        {new URL(link, location.origin).href}
      </Code>
    </Alert>
  );
}
