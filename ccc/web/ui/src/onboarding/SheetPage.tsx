import { Alert, Button, Container, Title } from '@mantine/core';
import { IconFileTypePdf, IconPrinter } from '@tabler/icons-react';
import { useMutation, useQuery } from '@tanstack/react-query';
import { QRCodeSVG } from 'qrcode.react';
import { useState } from 'react';
import { problemText } from '../api/problemText';
import type { Sheet } from '../api/types';
import { useTitle } from '../app/useTitle';
import { BackLink } from '../components/BackLink';
import { useComplain } from '../components/notify';
import { useFleet } from '../fleet/store';
import { useText } from '../i18n';
import { dateTime } from '../time/format';
import classes from './Sheet.module.css';
import { forSheet, getSheet, savePDF } from './sheet';

/** The tokens of systems to print and to cut out. */
export function SheetPage() {
  const { t, language } = useText();
  const complain = useComplain();
  const { complete } = useFleet();
  const [visit] = useState(() => crypto.randomUUID());
  useTitle(t('onboarding.sheet.title'));
  const { data, error } = useQuery({
    queryKey: ['sheet', visit],
    queryFn: async () => {
      const ids = forSheet();
      return ids.length > 0 ? getSheet(ids) : { tenant: '', items: [], left_out: [] };
    },
    enabled: complete,
    staleTime: Number.POSITIVE_INFINITY,
    gcTime: 0,
    retry: false,
  });
  const pdf = useMutation({
    mutationFn: (sheet: Sheet) =>
      savePDF(
        sheet.items.map((item) => item.system_id),
        language,
      ),
    onError: complain,
  });
  const before = data?.items.filter((item) => item.offer.sheet_at) ?? [];
  return (
    <Container size="lg" className={classes.page}>
      <div className={classes.screen}>
        <BackLink to="/onboarding" label={t('onboarding.title')} />
        <Title order={1}>{t('onboarding.sheet.title')}</Title>
        <p className={classes.lead}>{t('onboarding.sheet.lead')}</p>
        {error && <Alert color="red">{problemText(t, error)}</Alert>}
        {!data && !error && <p role="status">{t('onboarding.sheet.loading')}</p>}
        {data && data.items.length === 0 && <Alert color="yellow">{t('onboarding.sheet.none')}</Alert>}
        {before[0]?.offer.sheet_at && (
          <Alert color="yellow" mb="md">
            {t('onboarding.sheet.before', {
              count: before.length,
              time: dateTime(before[0].offer.sheet_at, language),
            })}
          </Alert>
        )}
        {data && data.left_out.length > 0 && (
          <Alert color="yellow" mb="md">
            {t('onboarding.sheet.left', { count: data.left_out.length })}
          </Alert>
        )}
        {data && data.items.length > 0 && (
          <div className={classes.buttons}>
            <Button leftSection={<IconPrinter size={16} />} onClick={() => window.print()}>
              {t('onboarding.sheet.printNow')}
            </Button>
            <Button
              variant="default"
              leftSection={<IconFileTypePdf size={16} />}
              loading={pdf.isPending}
              onClick={() => pdf.mutate(data)}
            >
              {t('onboarding.sheet.pdf')}
            </Button>
          </div>
        )}
      </div>
      {data && (
        <ul className={classes.cards}>
          {data.items.map((item) => (
            <li key={item.system_id} className={classes.card}>
              <div className={classes.text}>
                <h2>{item.name}</h2>
                <dl>
                  <dt>{t('column.serial')}</dt>
                  <dd>{item.serial}</dd>
                  {item.site && (
                    <>
                      <dt>{t('onboarding.column.site')}</dt>
                      <dd>{item.site}</dd>
                    </>
                  )}
                  <dt>{t('setup.todo.tenant')}</dt>
                  <dd>{data.tenant}</dd>
                </dl>
                <p className={classes.label}>{t('setup.token')}</p>
                <p className={classes.token}>{item.offer.token}</p>
                <dl>
                  <dt>{t('setup.code')}</dt>
                  <dd>{item.offer.code}</dd>
                  <dt>{t('onboarding.sheet.until')}</dt>
                  <dd>{dateTime(item.offer.expires_at, language, true)}</dd>
                </dl>
              </div>
              <QRCodeSVG value={item.offer.qr} size={112} level="M" marginSize={2} title={t('setup.qr')} />
              <ol className={classes.steps}>
                <li>{t('setup.todo.open')}</li>
                <li>{t('onboarding.sheet.compare')}</li>
                <li>{t('setup.todo.type')}</li>
              </ol>
            </li>
          ))}
        </ul>
      )}
    </Container>
  );
}
