import { Container, Title } from '@mantine/core';
import { Link } from '@tanstack/react-router';
import { useMeta } from '../app/meta';
import { useTitle } from '../app/useTitle';
import { Mark, Wordmark } from '../components/Brand';
import { Foot } from '../components/Foot';
import { useText } from '../i18n';
import classes from './Privacy.module.css';

const topics = ['account', 'pairing', 'end', 'monitoring', 'calls', 'backup', 'remote', 'logs', 'rights'] as const;
const servers = ['auerproxy', 'backup', 'ccc', 'ara', 'voucher', 'monitoring'] as const;

/** What happens with personal data, in short; readable without an account. */
export function PrivacyPage() {
  const { t } = useText();
  const { brand } = useMeta();
  useTitle(t('privacy.title'));
  return (
    <div className={classes.page}>
      <header className={classes.header}>
        <Container size="md" className={classes.bar}>
          <Link to="/" className={classes.brand}>
            <Mark />
            <Wordmark />
          </Link>
        </Container>
      </header>
      <main>
        <Container size="md" className={classes.text}>
          <Title order={1}>{t('privacy.title')}</Title>
          <p className={classes.lead}>{t('privacy.lead')}</p>
          {topics.map((topic) => (
            <section key={topic}>
              <h2>{t(`privacy.${topic}.title`)}</h2>
              <p>{t(`privacy.${topic}.text`)}</p>
            </section>
          ))}
          <section>
            <h2>{t('privacy.servers.title')}</h2>
            <p>{t('privacy.servers.text')}</p>
            <table className={classes.servers}>
              <thead>
                <tr>
                  <th scope="col">{t('privacy.servers.server')}</th>
                  <th scope="col">{t('privacy.servers.purpose')}</th>
                  <th scope="col">{t('privacy.servers.place')}</th>
                </tr>
              </thead>
              <tbody>
                {servers.map((server) => (
                  <tr key={server}>
                    <th scope="row">{t(`privacy.server.${server}.name`)}</th>
                    <td>{t(`privacy.server.${server}.purpose`)}</td>
                    <td>{t('privacy.servers.germany')}</td>
                  </tr>
                ))}
              </tbody>
            </table>
          </section>
          <section>
            <h2>{t('privacy.responsible')}</h2>
            <p>{brand.legal}</p>
          </section>
        </Container>
      </main>
      <Foot />
    </div>
  );
}
