import { Button, Text } from '@mantine/core';
import { useDisclosure } from '@mantine/hooks';
import { useInfiniteQuery, useMutation, useQueryClient } from '@tanstack/react-query';
import { api, call } from '../api/client';
import type { BreakGlass } from '../api/types';
import { useMay, useMe } from '../app/meta';
import { useComplain } from '../components/notify';
import { useText } from '../i18n';
import { dateTime } from '../time/format';
import { GlassModal } from './GlassModal';
import classes from './Organisation.module.css';
import { Paged } from './Paged';
import { glassQuery, tenantsQuery } from './queries';

/** Who of the operator's staff works or has worked here without having been let in, and why. */
export function GlassList() {
  const { t } = useText();
  const { tenant } = useMe();
  const { whole } = useMay();
  const records = useInfiniteQuery(glassQuery);
  const [open, modal] = useDisclosure(false);
  const operator = tenant.kind === 'operator';
  return (
    <>
      <Text c="dimmed" mb="sm">
        {t(operator ? 'organisation.glass.leadOurs' : 'organisation.glass.lead')}
      </Text>
      <Paged result={records} empty={t('organisation.glass.none')}>
        {(record) => <Entry key={record.id} record={record} />}
      </Paged>
      {operator && whole('break_glass.begin') && (
        <Button variant="default" mt="md" onClick={modal.open}>
          {t('organisation.glass.begin')}
        </Button>
      )}
      <GlassModal opened={open} tenant={undefined} onClose={modal.close} />
    </>
  );
}

function Entry({ record }: { record: BreakGlass }) {
  const { t, language } = useText();
  const { whole } = useMay();
  const complain = useComplain();
  const queryClient = useQueryClient();
  const end = useMutation({
    mutationFn: () => call(api.DELETE('/break-glass/{id}', { params: { path: { id: record.id } } })),
    onSuccess: async () => {
      await queryClient.invalidateQueries({ queryKey: glassQuery.queryKey });
      await queryClient.invalidateQueries({ queryKey: tenantsQuery.queryKey });
    },
    onError: complain,
  });
  const from = dateTime(record.created_at, language);
  const to = dateTime(record.ended_at ?? record.expires_at, language);
  return (
    <li className={classes.item} data-over={!record.active}>
      <div className={classes.what}>
        <span className={classes.name}>
          {[record.user.name || t('timeline.formerUser'), record.tenant].filter(Boolean).join(' → ')}
        </span>
        <span className={classes.more}>{t('remote.because', { reason: record.reason })}</span>
        <span className={classes.more}>
          {record.active
            ? t('organisation.glass.active', { from, to })
            : t(record.ended_at ? 'organisation.glass.ended' : 'organisation.glass.expired', { from, to })}
        </span>
        {record.active && (
          <div className={classes.badges}>
            <span className={classes.badge} data-tone="warn">
              {t('organisation.glass.now')}
            </span>
          </div>
        )}
      </div>
      {record.active && whole('break_glass.end') && (
        <Button
          size="compact-sm"
          color="red"
          loading={end.isPending}
          aria-label={t('organisation.glass.endName', { name: record.user.name })}
          onClick={() => end.mutate()}
        >
          {t('organisation.glass.end')}
        </Button>
      )}
    </li>
  );
}
