import { Alert, Anchor, Button, Stack, Text, Title } from '@mantine/core';
import { IconAlertCircle } from '@tabler/icons-react';
import { useMutation } from '@tanstack/react-query';
import { useState } from 'react';
import { useMeta } from '../app/meta';
import { useText } from '../i18n';
import { failureText } from './failure';
import { addPasskey, passkeysPossible } from './passkeys';
import { RecoveryCodes } from './RecoveryCodes';
import classes from './Security.module.css';
import { SetupApp } from './SetupApp';

/** For who has to set up a second factor before anything else. */
export function Enrol({ onDone, onCancel }: { onDone(): void; onCancel(): void }) {
  const { t } = useText();
  const meta = useMeta();
  const [app, setApp] = useState(false);
  const [codes, setCodes] = useState<string[] | null>(null);
  const done = (made: string[]) => (made.length > 0 ? setCodes(made) : onDone());
  const passkey = useMutation({
    mutationFn: () => addPasskey(t('security.passkeys.one')),
    onSuccess: (added) => done(added.codes),
  });
  if (codes)
    return (
      <Stack gap="md">
        <Title order={2}>{t('security.codes.title')}</Title>
        <RecoveryCodes codes={codes} onKept={onDone} />
      </Stack>
    );
  return (
    <Stack gap="md">
      <Title order={2}>{t('security.enrol.title')}</Title>
      {app ? (
        <SetupApp onDone={done} />
      ) : (
        <>
          <Text size="sm">{t('security.enrol.text')}</Text>
          {passkey.error && (
            <Alert color="red" icon={<IconAlertCircle size={18} />} role="alert">
              {failureText(t, passkey.error)}
            </Alert>
          )}
          <Stack gap="xs" className={classes.choice}>
            <Text size="sm">{t('security.enrol.appText')}</Text>
            <Button onClick={() => setApp(true)}>{t('security.enrol.app')}</Button>
          </Stack>
          {meta.passkeys && passkeysPossible && (
            <Stack gap="xs" className={classes.choice}>
              <Text size="sm">{t('security.enrol.passkeyText')}</Text>
              <Button variant="default" loading={passkey.isPending} onClick={() => passkey.mutate()}>
                {t('security.enrol.passkey')}
              </Button>
            </Stack>
          )}
        </>
      )}
      <Anchor component="button" type="button" size="sm" onClick={onCancel}>
        {t('security.second.cancel')}
      </Anchor>
    </Stack>
  );
}
