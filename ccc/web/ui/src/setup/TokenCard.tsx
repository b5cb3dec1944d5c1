import { Button, Paper, Title } from '@mantine/core';
import { useClipboard } from '@mantine/hooks';
import { IconCheck, IconCopy } from '@tabler/icons-react';
import { QRCodeSVG } from 'qrcode.react';
import { Fragment, type ReactNode } from 'react';
import type { Offer } from '../api/types';
import { useText } from '../i18n';
import { countdown, dateTime } from '../time/format';
import classes from './TokenCard.module.css';

/** The token, as large as it can be read out on the phone, and what belongs to it. */
export function TokenCard({ offer, seconds, renew }: { offer: Offer; seconds: number; renew: ReactNode }) {
  const { t, language } = useText();
  const clipboard = useClipboard({ timeout: 2500 });
  const groups = offer.token.split('-');
  const lifetime = (Date.parse(offer.expires_at) - Date.parse(offer.created_at)) / 1000;
  const share = Math.min(1, Math.max(0, seconds / lifetime));
  return (
    <Paper withBorder radius="lg" className={classes.card} component="section" aria-labelledby="token">
      <div className={classes.left}>
        <Title order={2} id="token">
          {t('setup.token')}
        </Title>
        <p className={classes.token} data-testid="token">
          {groups.map((group, i) => (
            // biome-ignore lint/suspicious/noArrayIndexKey: the groups never change places
            <Fragment key={i}>
              {i > 0 && <span className={classes.dash}>-</span>}
              <span className={classes.group}>{group}</span>
            </Fragment>
          ))}
        </p>
        <div className={classes.actions}>
          <Button
            variant={clipboard.copied ? 'light' : 'filled'}
            leftSection={clipboard.copied ? <IconCheck size={17} /> : <IconCopy size={17} />}
            onClick={() => clipboard.copy(offer.token)}
            className={classes.copy}
          >
            <span aria-live="polite">{clipboard.copied ? t('setup.copied') : t('setup.copy')}</span>
          </Button>
          {clipboard.error && <span className={classes.hint}>{t('setup.copyFailed')}</span>}
          {renew}
        </div>
        <div className={classes.expiry}>
          <div className={classes.bar} data-low={share < 0.1} aria-hidden="true">
            <span style={{ transform: `scaleX(${share})` }} />
          </div>
          <p className={classes.timeLeft}>
            <span>
              {t('setup.expiresIn')}{' '}
              <span className={classes.count} role="timer">
                {countdown(seconds)}
              </span>
            </span>
            <span className={classes.until}>
              {t('setup.expiresAt', { time: dateTime(offer.expires_at, language, true) })}
            </span>
          </p>
          {offer.sheet_at && (
            <p className={classes.hint}>{t('onboarding.sheet.made', { time: dateTime(offer.sheet_at, language) })}</p>
          )}
        </div>
      </div>
      <figure className={classes.qr}>
        <QRCodeSVG value={offer.qr} size={148} level="M" marginSize={2} title={t('setup.qr')} />
        <figcaption>{t('setup.qrHint')}</figcaption>
      </figure>
    </Paper>
  );
}
