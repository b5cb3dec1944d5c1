import { Button } from '@mantine/core';
import { IconDownload, IconShieldCheck } from '@tabler/icons-react';
import { useMutation } from '@tanstack/react-query';
import { useComplain } from '../components/notify';
import { useText } from '../i18n';
import { count } from '../time/format';
import classes from './Audit.module.css';
import { exported, save } from './audit';
import { verifyExport } from './verify';

/** The log as a file, and a look through its chain in the browser. */
export function Exports() {
  const { t, language } = useText();
  const complain = useComplain();
  const file = useMutation({
    mutationFn: async (format: 'jsonl' | 'csv') =>
      save(await exported(format), `audit-${new Date().toISOString().slice(0, 10)}.${format}`),
    onError: complain,
  });
  const verify = useMutation({
    mutationFn: async () => verifyExport(await (await exported('jsonl')).text()),
    onError: complain,
  });
  return (
    <>
      <div className={classes.buttons}>
        <Button
          variant="default"
          leftSection={<IconShieldCheck size={16} />}
          loading={verify.isPending}
          onClick={() => verify.mutate()}
        >
          {t('audit.verify.button')}
        </Button>
        {(['jsonl', 'csv'] as const).map((format) => (
          <Button
            key={format}
            variant="default"
            leftSection={<IconDownload size={16} />}
            loading={file.isPending && file.variables === format}
            onClick={() => file.mutate(format)}
          >
            {t(`audit.export.${format}`)}
          </Button>
        ))}
      </div>
      <output className={classes.verified} data-good={verify.data?.good}>
        {verify.data &&
          (verify.data.good
            ? t('audit.verify.good', { entries: count(verify.data.entries, language), seq: verify.data.seq })
            : t('audit.verify.bad', { seq: verify.data.seq }))}
      </output>
    </>
  );
}
