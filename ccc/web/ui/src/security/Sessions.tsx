import { Badge, Button, Text } from '@mantine/core';
import { useQuery, useQueryClient } from '@tanstack/react-query';
import { api, call } from '../api/client';
import { tell, useComplain } from '../components/notify';
import { useText } from '../i18n';
import { dateTime } from '../time/format';
import { sessionsQuery } from './queries';
import { Section } from './Section';
import classes from './Security.module.css';

/** Where the person is signed in: when, and how it was proven, since no more is kept. */
export function SessionsSection() {
  const { t, language } = useText();
  const complain = useComplain();
  const queryClient = useQueryClient();
  const { data } = useQuery(sessionsQuery);
  const refresh = () => queryClient.invalidateQueries({ queryKey: sessionsQuery.queryKey });
  const end = (id: string) =>
    call(api.DELETE('/account/sessions/{session}', { params: { path: { session: id } } }))
      .then(refresh)
      .catch(complain);
  const endOthers = () =>
    call(api.DELETE('/account/sessions'))
      .then(() => {
        tell(t('security.sessions.ended'));
        return refresh();
      })
      .catch(complain);
  return (
    <Section id="sessions" title={t('security.sessions.title')}>
      <ul className={classes.list}>
        {data?.items.map((s) => (
          <li key={s.id} className={classes.item}>
            <div className={classes.what}>
              <Text>
                {t('security.sessions.begun', { time: dateTime(s.begun_at, language) })}{' '}
                {s.current && (
                  <Badge variant="light" component="span">
                    {t('security.sessions.current')}
                  </Badge>
                )}
              </Text>
              <Text size="sm" c="dimmed">
                {t(`security.sessions.${s.proof}`)}
                {' · '}
                {t('security.sessions.seen', { time: dateTime(s.last_seen_at, language) })}
              </Text>
            </div>
            {!s.current && (
              <Button
                size="compact-sm"
                variant="default"
                aria-label={`${t('security.sessions.end')}: ${dateTime(s.begun_at, language)}`}
                onClick={() => void end(s.id)}
              >
                {t('security.sessions.endShort')}
              </Button>
            )}
          </li>
        ))}
      </ul>
      {(data?.items.length ?? 0) > 1 && (
        <Button variant="default" mt="md" onClick={() => void endOthers()}>
          {t('security.sessions.endOthers')}
        </Button>
      )}
    </Section>
  );
}
