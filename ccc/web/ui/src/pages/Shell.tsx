import { Anchor, Container } from '@mantine/core';
import { Link, Outlet, useRouteContext } from '@tanstack/react-router';
import { useEffect } from 'react';
import { workingIn } from '../api/tenant';
import { MeContext } from '../app/meta';
import { AccountMenu } from '../components/AccountMenu';
import { Mark, Wordmark } from '../components/Brand';
import { LiveMark, OfflineBanner } from '../components/Live';
import { Nav } from '../components/Nav';
import { TenantBand } from '../components/TenantBand';
import { TenantSwitch } from '../components/TenantSwitch';
import { fleet } from '../fleet/store';
import { showLanguage, useText } from '../i18n';
import { Prove } from '../security/Prove';
import classes from './Shell.module.css';

/** What surrounds each page of a signed-in person; keeps the systems alive meanwhile. */
export function Shell() {
  const { t } = useText();
  const { me } = useRouteContext({ from: '/shell' });

  useEffect(() => {
    fleet.start();
    return () => fleet.stop();
  }, []);
  const wanted = me.user.language;
  useEffect(() => {
    if (wanted !== document.documentElement.lang) void showLanguage(wanted);
  }, [wanted]);

  return (
    <MeContext value={me}>
      <Prove>
        <div className={classes.shell} data-elsewhere={workingIn !== undefined}>
          <a className={classes.skip} href="#main">
            {t('shell.skip')}
          </a>
          <header className={classes.header}>
            <Container size="xl" className={classes.bar}>
              <Link to="/" className={classes.brand}>
                <Mark />
                <Wordmark />
              </Link>
              <Nav />
              <TenantSwitch />
              <LiveMark />
              <AccountMenu />
            </Container>
            {workingIn && <TenantBand />}
          </header>
          <main id="main" className={classes.main} tabIndex={-1}>
            <Outlet />
          </main>
          <footer className={classes.foot}>
            <Anchor renderRoot={(props) => <Link {...props} to="/privacy" />} c="dimmed" size="sm">
              {t('privacy.title')}
            </Anchor>
          </footer>
          <OfflineBanner />
        </div>
      </Prove>
    </MeContext>
  );
}
