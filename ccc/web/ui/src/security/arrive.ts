import { useQueryClient } from '@tanstack/react-query';
import { useNavigate, useRouter } from '@tanstack/react-router';
import type { Me } from '../api/types';
import { sessionQuery } from '../app/meta';
import { showLanguage } from '../i18n';

/** Gives a function for the answer of each step: it goes on to the next one, or to where the person wanted to go. */
export function useArrive(next?: string): (me: Me) => Promise<void> {
  const navigate = useNavigate();
  const router = useRouter();
  const queryClient = useQueryClient();
  return async (me) => {
    queryClient.clear();
    await showLanguage(me.user.language);
    if (me.proof.need) {
      await navigate({ to: '/sign-in', search: { step: me.proof.need, ...(next && { next }) }, replace: true });
      return;
    }
    queryClient.setQueryData(sessionQuery.queryKey, me);
    if (next) router.history.push(next);
    else await navigate({ to: '/' });
  };
}
