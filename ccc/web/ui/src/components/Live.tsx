import { Button, Tooltip } from '@mantine/core';
import { IconCloudOff } from '@tabler/icons-react';
import { useEffect, useState } from 'react';
import { fleet, useStream } from '../fleet/store';
import { useText } from '../i18n';
import { useSecond } from '../time/clock';
import { timeOfDay } from '../time/format';
import classes from './Live.module.css';

/** Whether the pages hear of changes at once. */
export function LiveMark() {
  const { t } = useText();
  const live = useStream().state === 'live';
  const label = live ? t('live.on') : t('live.off');
  return (
    <Tooltip label={label}>
      <span className={classes.mark} data-live={live} role="img" aria-label={label} />
    </Tooltip>
  );
}

/** A stream that breaks off for a moment is nobody's business. */
const patience = 2500;

/** Says that the pages are out of date, and when the next try is. It covers nothing up for good. */
export function OfflineBanner() {
  const stream = useStream();
  const broken = stream.state !== 'live';
  const [lostAt, setLostAt] = useState<number | null>(null);
  const [shown, setShown] = useState(false);
  useEffect(() => {
    if (!broken) {
      setShown(false);
      return;
    }
    setLostAt(Date.now());
    const timer = setTimeout(() => setShown(true), patience);
    return () => clearTimeout(timer);
  }, [broken]);
  if (!shown || lostAt === null) return null;
  return <Banner lostAt={lostAt} />;
}

function Banner({ lostAt }: { lostAt: number }) {
  const { t, language } = useText();
  const stream = useStream();
  useSecond();
  const seconds = stream.state === 'waiting' ? Math.max(1, Math.ceil((stream.retryAt - Date.now()) / 1000)) : 0;
  const time = timeOfDay(lostAt, language);
  return (
    <div className={classes.banner} role="alert">
      <IconCloudOff size={20} aria-hidden="true" />
      <div className={classes.words}>
        <strong>{t('live.lost')}</strong>
        <span>{t('live.asOf', { time })}</span>
      </div>
      <Button
        size="xs"
        variant="default"
        className={classes.retry}
        loading={stream.state === 'connecting'}
        onClick={fleet.retryNow}
      >
        <span aria-hidden="true">{seconds > 0 ? t('live.retryIn', { seconds }) : t('live.retry')}</span>
        <span className={classes.hidden}>{t('live.retry')}</span>
      </Button>
    </div>
  );
}
