import { Button, Modal, PasswordInput, Stack, Text } from '@mantine/core';
import { useMutation, useQueryClient } from '@tanstack/react-query';
import { createContext, type ReactNode, useCallback, useContext, useState } from 'react';
import { api, ask } from '../api/client';
import { asApiError } from '../api/problem';
import { workingIn } from '../api/tenant';
import type { Factors } from '../api/types';
import { sessionQuery, useMe } from '../app/meta';
import { useComplain } from '../components/notify';
import { useText } from '../i18n';
import { failureText } from './failure';
import { factorsQuery } from './queries';
import { SecondStep } from './SecondStep';

type Run = (action: () => Promise<void>) => Promise<void>;

const ProveContext = createContext<Run>(async (action) => action());

/** Gives a function that does something; where the server wants a newer proof, it asks for that and goes on. */
export function useProven(): Run {
  return useContext(ProveContext);
}

/** Asks those who change what they prove themselves with who they are, if it is long since they said. */
export function Prove({ children }: { children: ReactNode }) {
  const { t } = useText();
  const complain = useComplain();
  const queryClient = useQueryClient();
  const [asked, setAsked] = useState<{ factors: Factors; action(): Promise<void> } | null>(null);
  const run = useCallback<Run>(
    async (action) => {
      try {
        await action();
      } catch (thrown) {
        if (asApiError(thrown).code !== 'proof_stale') {
          complain(thrown);
          return;
        }
        try {
          setAsked({ factors: await queryClient.fetchQuery({ ...factorsQuery, staleTime: 0 }), action });
        } catch (failed) {
          complain(failed);
        }
      }
    },
    [complain, queryClient],
  );
  const proven = (me: Awaited<ReturnType<NonNullable<typeof sessionQuery.queryFn>>>) => {
    // The answer is about the own tenant.
    if (workingIn) void queryClient.invalidateQueries({ queryKey: sessionQuery.queryKey });
    else queryClient.setQueryData(sessionQuery.queryKey, me);
    const action = asked?.action;
    setAsked(null);
    if (action) void action().catch(complain);
  };
  return (
    <ProveContext value={run}>
      {children}
      <Modal
        opened={asked !== null}
        onClose={() => setAsked(null)}
        title={t('security.prove.title')}
        closeButtonProps={{ 'aria-label': t('common.close') }}
      >
        {asked && (
          <Stack gap="md">
            <Text size="sm">{t('security.prove.text')}</Text>
            {asked.factors.totp || asked.factors.passkeys > 0 ? (
              <SecondStep factors={asked.factors} title={false} onProven={proven} onCancel={() => setAsked(null)} />
            ) : (
              <PasswordStep onProven={proven} />
            )}
          </Stack>
        )}
      </Modal>
    </ProveContext>
  );
}

function PasswordStep({ onProven }: { onProven(me: ReturnType<typeof useMe>): void }) {
  const { t } = useText();
  const { user } = useMe();
  const [password, setPassword] = useState('');
  const prove = useMutation({
    mutationFn: () => ask(api.POST('/session', { body: { email: user.email, password } })),
    onSuccess: onProven,
  });
  return (
    <form
      onSubmit={(e) => {
        e.preventDefault();
        if (password) prove.mutate();
      }}
    >
      <Stack gap="md">
        <PasswordInput
          label={t('security.prove.password')}
          autoComplete="current-password"
          data-autofocus
          visibilityToggleButtonProps={{ 'aria-label': t('signIn.showPassword') }}
          value={password}
          error={prove.error ? failureText(t, prove.error) : undefined}
          onChange={(e) => setPassword(e.currentTarget.value)}
        />
        <Button type="submit" loading={prove.isPending}>
          {t('security.prove.submit')}
        </Button>
      </Stack>
    </form>
  );
}
