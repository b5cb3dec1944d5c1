import { Alert, Button, FileInput, Paper, Progress, Stack, Text, Title } from '@mantine/core';
import { useMutation, useQueryClient } from '@tanstack/react-query';
import { useRef, useState } from 'react';
import { problemText } from '../api/problemText';
import { tell } from '../components/notify';
import { useText } from '../i18n';
import classes from './Firmware.module.css';
import { firmwareQuery } from './queries';
import { sizeText } from './size';
import { upload } from './upload';

/** Where the operator brings an image: it is sent, and then its signature is looked at. */
export function Upload() {
  const { t, language } = useText();
  const queryClient = useQueryClient();
  const [file, setFile] = useState<File | null>(null);
  const [sent, setSent] = useState(0);
  const [ended, setEnded] = useState(false);
  const control = useRef(new AbortController());
  const send = useMutation({
    mutationFn: (image: File) => {
      control.current = new AbortController();
      setSent(0);
      setEnded(false);
      return upload(image, setSent, control.current.signal);
    },
    onSuccess: ({ model, version }) => {
      tell(t('firmware.uploaded', { model, version }));
      setFile(null);
    },
    onSettled: () => queryClient.invalidateQueries(firmwareQuery),
  });
  const total = file?.size ?? 0;
  const whole = total > 0 && sent >= total;
  return (
    <Paper withBorder radius="lg" className={classes.card} component="section" aria-labelledby="upload">
      <form
        onSubmit={(e) => {
          e.preventDefault();
          if (file) send.mutate(file);
        }}
      >
        <Stack gap="sm">
          <Title order={2} id="upload">
            {t('firmware.upload')}
          </Title>
          <FileInput
            label={t('firmware.file')}
            description={t('firmware.fileHint')}
            placeholder={t('firmware.choose')}
            classNames={{ placeholder: classes.placeholder }}
            clearable
            clearButtonProps={{ 'aria-label': t('firmware.clear') }}
            disabled={send.isPending}
            value={file}
            onChange={(chosen) => {
              setFile(chosen);
              send.reset();
            }}
          />
          {send.isPending && (
            <div>
              <Progress
                value={total ? (100 * Math.min(sent, total)) / total : 0}
                animated={whole}
                aria-label={t('firmware.upload')}
              />
              <Text size="sm" c="dimmed" mt={4} role="status">
                {whole
                  ? t('firmware.checking')
                  : t('firmware.progress', { sent: sizeText(sent, language), total: sizeText(total, language) })}
              </Text>
            </div>
          )}
          {send.error && (
            <Alert color={ended ? 'gray' : 'red'} role="alert">
              {ended ? t('firmware.ended') : problemText(t, send.error)}
            </Alert>
          )}
          <div className={classes.bar}>
            <Button type="submit" disabled={!file} loading={send.isPending}>
              {t('firmware.send')}
            </Button>
            {send.isPending && (
              <Button
                variant="default"
                onClick={() => {
                  setEnded(true);
                  control.current.abort();
                }}
              >
                {t('common.cancel')}
              </Button>
            )}
          </div>
        </Stack>
      </form>
    </Paper>
  );
}
