import { Button } from '@mantine/core';
import { useMutation, useQueryClient } from '@tanstack/react-query';
import { api, call } from '../api/client';
import type { KnownTenant } from '../api/types';
import { tell, useComplain } from '../components/notify';
import { useText } from '../i18n';
import { dateTime } from '../time/format';
import classes from './Organisation.module.css';

type Invitation = NonNullable<KnownTenant['invitation']>;

/** How far the invitation of the first owner is, who has not come yet. */
export function OwnerInvited({ invitation }: { invitation: Invitation }) {
  const { t, language } = useText();
  return (
    <span className={classes.more}>
      {t('organisation.customers.invited', { name: invitation.name, email: invitation.email })} ·{' '}
      {invitation.expired
        ? t('signin.invitations.expired')
        : t('signin.invitations.expires', { time: dateTime(invitation.expires_at, language) })}{' '}
      · {t(`signin.invitations.mail.${invitation.mail}`, { failure: invitation.failure ?? '' })}
    </span>
  );
}

/** Sends it again. Where there are no mails, whoever does so is shown the link. */
export function InviteOwnerAgain({
  tenant,
  email,
  onLink,
}: {
  tenant: KnownTenant;
  email: string;
  onLink(link: string): void;
}) {
  const { t } = useText();
  const complain = useComplain();
  const queryClient = useQueryClient();
  const again = useMutation({
    mutationFn: () => call(api.POST('/invited-tenants/{id}/mail', { params: { path: { id: tenant.id } } })),
    onSuccess: (made) => {
      onLink(made.link ?? '');
      if (!made.link) tell(t('signin.invitations.sent', { email }));
      return queryClient.invalidateQueries({ queryKey: ['below'] });
    },
    onError: complain,
  });
  return (
    <Button
      variant="default"
      size="compact-sm"
      aria-label={t('organisation.customers.inviteAgainAt', { name: tenant.name })}
      loading={again.isPending}
      onClick={() => again.mutate()}
    >
      {t('organisation.customers.inviteAgain')}
    </Button>
  );
}
