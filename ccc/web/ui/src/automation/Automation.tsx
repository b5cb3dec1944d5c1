import { Anchor, Button, Container, Modal, Paper, Skeleton, Text, Title } from '@mantine/core';
import { useQuery } from '@tanstack/react-query';
import { Link } from '@tanstack/react-router';
import { useState } from 'react';
import { problemText } from '../api/problemText';
import { useMay } from '../app/meta';
import { useTitle } from '../app/useTitle';
import { useText } from '../i18n';
import classes from './Automation.module.css';
import { WebhookForm } from './Form';
import { webhooksQuery } from './queries';
import { Secret } from './Secret';
import { WebhookCard } from './WebhookCard';

/** What programs are told, and how they ask. */
export function AutomationPage() {
  const { t } = useText();
  useTitle(t('nav.automation'));
  return (
    <Container size="lg" className={classes.page}>
      <Title order={1}>{t('nav.automation')}</Title>
      <p className={classes.lead}>{t('automation.lead')}</p>
      <Webhooks />
      <Programs />
    </Container>
  );
}

function Webhooks() {
  const { t } = useText();
  const { whole } = useMay();
  const { data, error, isPending } = useQuery(webhooksQuery);
  const [open, setOpen] = useState(false);
  const [secret, setSecret] = useState('');
  const close = () => {
    setOpen(false);
    setSecret('');
  };
  return (
    <section aria-labelledby="webhooks">
      <Title order={2} id="webhooks" mb="sm">
        {t('automation.webhooks')}
      </Title>
      {isPending && <Skeleton height={96} radius="lg" mb="md" />}
      {error && !data && <Text c="dimmed">{problemText(t, error)}</Text>}
      {data?.length === 0 && (
        <Text c="dimmed" mb="md">
          {t('automation.none')}
        </Text>
      )}
      {data?.map((webhook) => (
        <WebhookCard key={webhook.id} webhook={webhook} />
      ))}
      {whole('webhooks.manage') && (
        <Button variant="default" mb="lg" onClick={() => setOpen(true)}>
          {t('automation.add')}
        </Button>
      )}
      <Modal
        opened={open}
        onClose={close}
        title={t('automation.add')}
        closeButtonProps={{ 'aria-label': t('common.close') }}
      >
        {secret ? <Secret secret={secret} onDone={close} /> : <WebhookForm onMade={setSecret} onDone={close} />}
      </Modal>
    </section>
  );
}

/** How programs ask. */
function Programs() {
  const { t } = useText();
  return (
    <Paper withBorder radius="lg" className={classes.section} component="section" aria-labelledby="programs">
      <Title order={2} id="programs" mb="sm">
        {t('automation.programs')}
      </Title>
      <Text mb="xs">{t('automation.programsText')}</Text>
      <Anchor renderRoot={(props) => <Link {...props} to="/account" hash="tokens" />}>{t('automation.tokens')}</Anchor>
      {' · '}
      <Anchor href="/api/v1/openapi.json">{t('automation.openapi')}</Anchor>
    </Paper>
  );
}
