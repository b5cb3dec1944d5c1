import { Alert, Button, Container, Group, Modal, Skeleton, Stack, Text, Title } from '@mantine/core';
import { useMutation, useQuery, useQueryClient } from '@tanstack/react-query';
import { Link } from '@tanstack/react-router';
import { useState } from 'react';
import { api, call } from '../api/client';
import { problemText } from '../api/problemText';
import { useTitle } from '../app/useTitle';
import { tell, useComplain } from '../components/notify';
import { useText } from '../i18n';
import { dateTime } from '../time/format';
import classes from './Firmware.module.css';
import { type Firmware, firmwareQuery, useBringsFirmware, useKeepsFirmware } from './queries';
import { sizeText } from './size';
import { Upload } from './Upload';

/** The images of firmware; the operator brings and removes them. */
export function FirmwarePage() {
  const { t } = useText();
  useTitle(t('firmware.title'));
  const keeps = useKeepsFirmware();
  const { data, error, isPending, refetch, isFetching } = useQuery(firmwareQuery);
  const [removing, remove] = useState<Firmware>();
  return (
    <Container size="lg" className={classes.page}>
      <Title order={1}>{t('firmware.title')}</Title>
      <p className={classes.lead}>{t('firmware.lead')}</p>
      {error && !data && (
        <Alert color="red" role="alert">
          <Stack gap="sm" align="flex-start">
            {problemText(t, error)}
            <Button variant="default" size="compact-sm" loading={isFetching} onClick={() => void refetch()}>
              {t('failure.retry')}
            </Button>
          </Stack>
        </Alert>
      )}
      {isPending && <Skeleton height={160} radius="lg" />}
      {data && keeps && <Upload />}
      {data?.length === 0 && <Text c="dimmed">{t('firmware.none')}</Text>}
      {data && data.length > 0 && (
        <ul className={classes.list}>
          {data.map((image) => (
            <Image key={image.id} image={image} keeps={keeps} onRemove={() => remove(image)} />
          ))}
        </ul>
      )}
      <RemoveModal image={removing} onClose={() => remove(undefined)} />
    </Container>
  );
}

function Image({ image, keeps, onRemove }: { image: Firmware; keeps: boolean; onRemove(): void }) {
  const { t, language } = useText();
  const brings = useBringsFirmware();
  const { model, version } = image;
  const notes = image.notes[language] ?? image.notes.en ?? Object.values(image.notes)[0];
  return (
    <li className={classes.item}>
      <div className={classes.head}>
        <div>
          <span className={classes.name}>
            {model} {version}
          </span>
          <span className={classes.more}>
            {[
              sizeText(image.size, language),
              t('firmware.uploadedAt', { time: dateTime(image.uploaded_at, language) }),
              image.min_version && t('firmware.over', { version: image.min_version }),
            ]
              .filter(Boolean)
              .join(' · ')}
          </span>
        </div>
        <Group gap="xs">
          {brings && (
            <Button
              variant="default"
              size="compact-sm"
              renderRoot={(props) => (
                <Link {...props} to="/rollouts/new" search={{ kind: 'firmware', firmware: image.id }} />
              )}
            >
              {t('firmware.bring')}
            </Button>
          )}
          {keeps && (
            <Button
              variant="default"
              size="compact-sm"
              aria-label={t('firmware.removeName', { model, version })}
              onClick={onRemove}
            >
              {t('firmware.remove')}
            </Button>
          )}
        </Group>
      </div>
      {notes && <p className={classes.notes}>{notes}</p>}
      <details className={classes.manifest}>
        <summary>{t('firmware.manifest')}</summary>
        <dl>
          <dt>{t('firmware.released')}</dt>
          <dd>{image.released}</dd>
          <dt>{t('firmware.key')}</dt>
          <dd className="mono">{image.key_id}</dd>
          <dt>SHA-256</dt>
          <dd className="mono">{image.sha256}</dd>
        </dl>
      </details>
    </li>
  );
}

function RemoveModal({ image, onClose }: { image: Firmware | undefined; onClose(): void }) {
  const { t } = useText();
  const complain = useComplain();
  const queryClient = useQueryClient();
  const remove = useMutation({
    mutationFn: ({ id }: Firmware) => call(api.DELETE('/firmware/{id}', { params: { path: { id } } })),
    onSuccess: (_, { model, version }) => {
      tell(t('firmware.removed', { model, version }));
      onClose();
    },
    onError: complain,
    onSettled: () => queryClient.invalidateQueries(firmwareQuery),
  });
  return (
    <Modal
      opened={image !== undefined}
      onClose={onClose}
      title={image && t('firmware.removeName', { model: image.model, version: image.version })}
      closeButtonProps={{ 'aria-label': t('common.close') }}
    >
      {image && (
        <Stack>
          <Text>{t('firmware.removeText')}</Text>
          <Group justify="flex-end">
            <Button variant="default" onClick={onClose} data-autofocus>
              {t('common.cancel')}
            </Button>
            <Button color="red" loading={remove.isPending} onClick={() => remove.mutate(image)}>
              {t('firmware.remove')}
            </Button>
          </Group>
        </Stack>
      )}
    </Modal>
  );
}
