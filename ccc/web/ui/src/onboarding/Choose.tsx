import { Button, Paper, Stack, Textarea, Title } from '@mantine/core';
import { IconDownload, IconFileSpreadsheet } from '@tabler/icons-react';
import { type DragEvent, useRef, useState } from 'react';
import { useText } from '../i18n';
import { saveList, textOf } from './list';
import classes from './Onboarding.module.css';

const columns = ['serial', 'name', 'note', 'site', 'groups', 'tags'] as const;

/** Where a list is dropped, chosen or pasted. */
export function Choose({ onChoose, busy }: { onChoose(text: string): void; busy: boolean }) {
  const { t } = useText();
  const input = useRef<HTMLInputElement>(null);
  const [over, setOver] = useState(false);
  const [pasted, setPasted] = useState('');
  const take = async (file: File | undefined) => {
    if (file) onChoose(textOf(await file.arrayBuffer()));
  };
  const drag = (on: boolean) => (e: DragEvent) => {
    e.preventDefault();
    setOver(on);
  };
  const template = () =>
    saveList(
      t('onboarding.templateFile'),
      `${columns.map((c) => t(`onboarding.column.${c}`)).join(';')}\r\n0123456789;${t('onboarding.example')};;;;\r\n`,
    );
  return (
    <Paper withBorder radius="lg" className={classes.card}>
      <Stack gap="lg">
        {/* biome-ignore lint/a11y/noStaticElementInteractions: the button inside does the same by keyboard */}
        <div
          className={classes.drop}
          data-over={over}
          onDragOver={drag(true)}
          onDragLeave={drag(false)}
          onDrop={(e) => {
            drag(false)(e);
            void take(e.dataTransfer.files[0]);
          }}
        >
          <IconFileSpreadsheet size={36} stroke={1.3} aria-hidden="true" />
          <p className={classes.hint}>{t('onboarding.drop')}</p>
          <Button loading={busy} onClick={() => input.current?.click()}>
            {t('onboarding.choose')}
          </Button>
          <input
            ref={input}
            type="file"
            hidden
            accept=".csv,.txt,text/csv"
            aria-label={t('onboarding.choose')}
            onChange={(e) => {
              void take(e.currentTarget.files?.[0]);
              e.currentTarget.value = ''; // the same file can be chosen again
            }}
          />
        </div>
        <form
          onSubmit={(e) => {
            e.preventDefault();
            if (pasted.trim()) onChoose(pasted);
          }}
        >
          <Stack gap="sm">
            <Textarea
              label={t('onboarding.paste')}
              autosize
              minRows={3}
              maxRows={10}
              value={pasted}
              onChange={(e) => setPasted(e.currentTarget.value)}
              spellCheck={false}
            />
            <div>
              <Button type="submit" variant="default" disabled={pasted.trim() === ''} loading={busy}>
                {t('onboarding.check')}
              </Button>
            </div>
          </Stack>
        </form>
        <div>
          <Title order={2} size="h4">
            {t('onboarding.form')}
          </Title>
          <p className={classes.hint}>{t('onboarding.formText')}</p>
          <ul className={classes.columns}>
            {columns.map((c) => (
              <li key={c}>
                <strong>{t(`onboarding.column.${c}`)}</strong>: {t(`onboarding.about.${c}`)}
              </li>
            ))}
          </ul>
        </div>
        <div>
          <Button variant="subtle" leftSection={<IconDownload size={16} />} onClick={template}>
            {t('onboarding.template')}
          </Button>
        </div>
      </Stack>
    </Paper>
  );
}
