import { Button, Group, Modal, Text } from '@mantine/core';
import { useQuery, useQueryClient } from '@tanstack/react-query';
import { useState } from 'react';
import { api, ask } from '../api/client';
import { tell } from '../components/notify';
import { useText } from '../i18n';
import { useProven } from './Prove';
import { factorsQuery } from './queries';
import { RecoveryCodes } from './RecoveryCodes';
import { Section } from './Section';
import { SetupApp } from './SetupApp';

/** The app for codes, and the recovery codes. */
export function FactorSection() {
  const { t } = useText();
  const run = useProven();
  const queryClient = useQueryClient();
  const { data: factors } = useQuery(factorsQuery);
  const [shown, setShown] = useState<'app' | string[] | null>(null);
  const close = () => {
    setShown(null);
    queryClient.removeQueries({ queryKey: ['account', 'app'] });
    void queryClient.invalidateQueries({ queryKey: ['account'] });
  };
  // Asked for before the window opens, so that the proof is not asked for inside it.
  const setUp = () =>
    run(async () => {
      queryClient.setQueryData(['account', 'app'], await ask(api.POST('/account/totp')));
      setShown('app');
    });
  const remove = () =>
    run(async () => {
      await ask(api.DELETE('/account/totp'));
      tell(t('security.factor.removed'));
      close();
    });
  const newCodes = () => run(async () => setShown((await ask(api.POST('/account/recovery-codes'))).codes));
  if (!factors) return null;
  const any = factors.totp || factors.passkeys > 0;
  return (
    <Section id="second-factor" title={t('security.factor.title')}>
      <Text>{factors.totp ? t('security.factor.on') : t('security.factor.off')}</Text>
      {any && <Text c="dimmed">{t('security.factor.codesLeft', { count: factors.recovery_codes })}</Text>}
      <Group mt="md">
        <Button variant={any ? 'default' : 'filled'} onClick={() => void setUp()}>
          {factors.totp ? t('security.factor.replace') : t('security.factor.setUp')}
        </Button>
        {any && (
          <Button variant="default" onClick={() => void newCodes()}>
            {t('security.factor.newCodes')}
          </Button>
        )}
        {factors.totp && (
          <Button variant="subtle" color="red" onClick={() => void remove()}>
            {t('security.factor.remove')}
          </Button>
        )}
      </Group>
      <Modal
        opened={shown !== null}
        onClose={close}
        title={Array.isArray(shown) ? t('security.codes.title') : t('security.factor.setUp')}
        closeButtonProps={{ 'aria-label': t('common.close') }}
      >
        {Array.isArray(shown) ? (
          <RecoveryCodes codes={shown} onKept={close} />
        ) : (
          shown === 'app' && (
            <SetupApp
              onDone={(codes) => {
                tell(t('security.app.done'));
                if (codes.length > 0) setShown(codes);
                else close();
              }}
            />
          )
        )}
      </Modal>
    </Section>
  );
}
