import { Container, Title } from '@mantine/core';
import { useTitle } from '../app/useTitle';
import { useText } from '../i18n';
import { FactorSection } from '../security/Factor';
import { PasskeysSection } from '../security/Passkeys';
import { ProviderLinksSection } from '../security/ProviderLinks';
import classes from '../security/Security.module.css';
import { SessionsSection } from '../security/Sessions';
import { TokensSection } from '../security/Tokens';

/** What the signed-in person proves himself with, and where he is signed in. */
export function AccountPage() {
  const { t } = useText();
  useTitle(t('security.title'));
  return (
    <Container size="md" className={classes.page}>
      <Title order={1}>{t('security.title')}</Title>
      <FactorSection />
      <PasskeysSection />
      <ProviderLinksSection />
      <SessionsSection />
      <TokensSection />
    </Container>
  );
}
