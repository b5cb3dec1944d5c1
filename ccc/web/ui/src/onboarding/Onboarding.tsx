import { Alert, Button, Container, Progress, SegmentedControl, Switch, Title } from '@mantine/core';
import { IconAlertCircle, IconDownload, IconFileTypePdf, IconInfoCircle, IconPrinter } from '@tabler/icons-react';
import { useMutation, useQueryClient } from '@tanstack/react-query';
import { Link } from '@tanstack/react-router';
import { useState } from 'react';
import { asApiError } from '../api/problem';
import type { ImportLine, ImportReport } from '../api/types';
import { useMay } from '../app/meta';
import { useTitle } from '../app/useTitle';
import { BackLink } from '../components/BackLink';
import { useComplain } from '../components/notify';
import { useText } from '../i18n';
import { count } from '../time/format';
import { Choose } from './Choose';
import { listFault } from './faults';
import { Lines } from './Lines';
import { faultyLines, isFaulty, saveList, sendList } from './list';
import classes from './Onboarding.module.css';
import { chooseForSheet, savePDF } from './sheet';

type Shown = 'all' | 'created' | 'exists' | 'faulty';

const shows: Record<Shown, (line: ImportLine) => boolean> = {
  all: () => true,
  created: (line) => line.outcome === 'created',
  exists: (line) => line.outcome === 'exists',
  faulty: isFaulty,
};

/** Many PBXs from a list: what would become of each line, then what has. */
export function OnboardingPage() {
  const { t, language } = useText();
  const { whole } = useMay();
  const queryClient = useQueryClient();
  const [text, setText] = useState('');
  const [create, setCreate] = useState(false);
  // The last one stays while the same list is looked at again.
  const [report, setReport] = useState<ImportReport | null>(null);
  const [progress, setProgress] = useState({ done: 0, total: 0 });
  useTitle(t('onboarding.title'));

  const send = useMutation({
    mutationFn: (list: { text: string; create: boolean; dryRun: boolean }) => {
      setProgress({ done: 0, total: 0 });
      return sendList(list.text, list, (done, total) => setProgress({ done: done.length, total }));
    },
    onSuccess: (made) => {
      setReport(made);
      const { summary } = made;
      if (summary.dry_run || summary.new_sites.length + summary.new_groups.length === 0) return;
      void queryClient.invalidateQueries({ queryKey: ['sites'] });
      void queryClient.invalidateQueries({ queryKey: ['groups'] });
    },
  });
  const check = (list: string, make = create) => {
    setText(list);
    send.mutate({ text: list, create: make, dryRun: true });
  };
  const adding = send.isPending && !send.variables.dryRun;
  const failure = send.error && (
    <Alert color="red" icon={<IconAlertCircle size={18} />} role="alert" mb="md">
      {listFault(t, asApiError(send.error))} {!send.variables?.dryRun && t('onboarding.again')}
    </Alert>
  );
  const restart = () => {
    send.reset();
    setReport(null);
    setText('');
  };

  return (
    <Container size="lg" className={classes.page}>
      <BackLink to="/" label={t('fleet.title')} />
      <Title order={1}>{t('onboarding.title')}</Title>
      <p className={classes.lead}>{t('onboarding.lead')}</p>
      {failure}
      {adding && (
        <div className={classes.progress} role="status">
          <p className={classes.hint}>
            {t('onboarding.progress', { done: count(progress.done, language), total: count(progress.total, language) })}
          </p>
          <Progress
            value={progress.total ? (100 * progress.done) / progress.total : 0}
            aria-label={t('onboarding.adding')}
            animated
          />
        </div>
      )}
      {report && !adding ? (
        <>
          <Report report={report} text={text} />
          {report.summary.dry_run && whole('tenant.write') && (
            <Switch
              mt="md"
              checked={create}
              label={t('onboarding.create')}
              description={t('onboarding.createText')}
              onChange={(e) => {
                setCreate(e.currentTarget.checked);
                check(text, e.currentTarget.checked);
              }}
            />
          )}
          <div className={classes.bar}>
            {report.summary.dry_run && (
              <Button
                disabled={report.summary.created === 0}
                loading={send.isPending}
                onClick={() => send.mutate({ text, create, dryRun: false })}
              >
                {t('onboarding.add', { count: report.summary.created, shown: count(report.summary.created, language) })}
              </Button>
            )}
            <Button variant="default" onClick={restart}>
              {t('onboarding.other')}
            </Button>
          </div>
        </>
      ) : (
        !adding && <Choose onChoose={check} busy={send.isPending} />
      )}
      {send.error && !send.variables?.dryRun && (
        <Button onClick={() => send.mutate({ text, create, dryRun: false })}>{t('onboarding.retry')}</Button>
      )}
    </Container>
  );
}

function Report({ report: { summary, lines }, text }: { report: ImportReport; text: string }) {
  const { t, language } = useText();
  const faulty = summary.invalid + summary.refused;
  const [shown, setShown] = useState<Shown>('all');
  const numbers: Record<Shown, number> = {
    all: summary.lines,
    created: summary.created,
    exists: summary.exists,
    faulty,
  };
  const created = lines.filter((l) => l.outcome === 'created' && l.system_id);
  const label = (which: Shown) =>
    which === 'created' && summary.dry_run ? t('onboarding.would') : t(`onboarding.show.${which}`);
  return (
    <>
      <Alert color={faulty > 0 ? 'yellow' : 'teal'} icon={<IconInfoCircle size={18} />} role="status">
        <strong>{summary.dry_run ? t('onboarding.checked') : t('onboarding.done')}</strong>
        <br />
        {t('onboarding.sum', {
          created: count(summary.created, language),
          exists: count(summary.exists, language),
          faulty: count(faulty, language),
        })}{' '}
        {summary.ignored.length > 0 && t('onboarding.ignored', { columns: summary.ignored.join(', ') })}{' '}
        {summary.new_sites.length > 0 && t('onboarding.newSites', { names: summary.new_sites.join(', ') })}{' '}
        {summary.new_groups.length > 0 && t('onboarding.newGroups', { names: summary.new_groups.join(', ') })}
      </Alert>
      <div className={classes.bar}>
        <SegmentedControl
          className={classes.shown}
          aria-label={t('onboarding.filter')}
          value={shown}
          onChange={(v) => setShown(v as Shown)}
          data={(Object.keys(shows) as Shown[]).map((which) => ({
            value: which,
            label: `${label(which)} (${count(numbers[which], language)})`,
          }))}
        />
        <span className={classes.grow} />
        {faulty > 0 && (
          <Button
            variant="default"
            leftSection={<IconDownload size={16} />}
            onClick={() => saveList(t('onboarding.faultyFile'), faultyLines(text, lines))}
          >
            {t('onboarding.saveFaulty')}
          </Button>
        )}
        {created.length > 0 && <SheetButtons ids={created.map((l) => l.system_id ?? '')} />}
      </div>
      <Lines lines={lines.filter(shows[shown])} dryRun={summary.dry_run} />
    </>
  );
}

/** The ways to the tokens of some systems on paper. */
export function SheetButtons({ ids }: { ids: readonly string[] }) {
  const { t, language } = useText();
  const complain = useComplain();
  const pdf = useMutation({ mutationFn: () => savePDF(ids, language), onError: complain });
  return (
    <>
      <Button
        leftSection={<IconPrinter size={16} />}
        onClick={() => chooseForSheet(ids)}
        renderRoot={(props) => <Link {...props} to="/onboarding/sheet" />}
      >
        {t('onboarding.sheet.print')}
      </Button>
      <Button
        variant="default"
        leftSection={<IconFileTypePdf size={16} />}
        loading={pdf.isPending}
        onClick={() => pdf.mutate()}
      >
        {t('onboarding.sheet.pdf')}
      </Button>
    </>
  );
}
