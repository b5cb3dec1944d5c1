import { Button, Code, Modal, Text } from '@mantine/core';
import { useMutation } from '@tanstack/react-query';
import type { ReactNode } from 'react';
import type { AuditEntry } from '../api/types';
import { useComplain } from '../components/notify';
import { useText } from '../i18n';
import { groupedSerial } from '../serial';
import { count, dateTime } from '../time/format';
import classes from './Audit.module.css';
import { addressOf } from './audit';
import { actorText, operationText, resourceText } from './texts';

/** One entry with all that it has. */
export function EntryModal({ entry, onClose }: { entry: AuditEntry | null; onClose(): void }) {
  const { t } = useText();
  return (
    <Modal
      opened={entry !== null}
      onClose={onClose}
      title={entry && t('audit.detail.title', { seq: entry.seq })}
      closeButtonProps={{ 'aria-label': t('audit.detail.close') }}
    >
      {entry && <Detail key={entry.seq} entry={entry} />}
    </Modal>
  );
}

function Detail({ entry: e }: { entry: AuditEntry }) {
  const { t, language } = useText();
  const resource = resourceText(t, e);
  return (
    <>
      <dl className={classes.detail}>
        <Item name={t('audit.column.when')}>{dateTime(e.at, language, true)}</Item>
        <Item name={t('audit.column.who')}>{actorText(t, e)}</Item>
        {e.right && <Item name={t('audit.detail.right')}>{t(`audit.right.${e.right}`)}</Item>}
        <Item name={t('audit.column.what')}>{operationText(t, e.operation)}</Item>
        <Item name={t('audit.detail.operation')}>
          <Code>{e.operation}</Code>
        </Item>
        {e.resource && (
          <Item name={t('audit.column.about')}>
            {resource}{' '}
            <Code className={classes.long}>{[e.resource.kind, e.resource.id].filter(Boolean).join(' ')}</Code>
          </Item>
        )}
        {e.serial && (
          <Item name={t('system.serial')}>
            <span className="mono">{groupedSerial(e.serial)}</span>
          </Item>
        )}
        <Item name={t('audit.column.outcome')}>
          {t(`audit.outcome.${e.outcome}`)}
          {e.repeats && <small>{t('audit.repeats', { times: count(e.repeats, language) })}</small>}
        </Item>
        {e.code && (
          <Item name={t('audit.detail.code')}>
            <Code>{e.code}</Code>
          </Item>
        )}
        {e.fields.length > 0 && (
          <Item name={t('audit.detail.fields')}>
            <Code className={classes.long}>{e.fields.join(' ')}</Code>
            <small>{t('audit.detail.fieldsNote')}</small>
          </Item>
        )}
        {e.address_until && <Address seq={e.seq} until={e.address_until} />}
        <Item name={t('audit.detail.hash')}>
          <Code className={classes.long}>{e.hash}</Code>
        </Item>
        <Item name={t('audit.detail.prev')}>
          <Code className={classes.long}>{e.prev}</Code>
        </Item>
      </dl>
      <Text size="sm" c="dimmed">
        {t('audit.detail.chain')}
      </Text>
    </>
  );
}

function Item({ name, children }: { name: string; children: ReactNode }) {
  return (
    <div>
      <dt>{name}</dt>
      <dd>{children}</dd>
    </div>
  );
}

/** The address that it came from, once somebody wants to see it. */
function Address({ seq, until }: { seq: number; until: string }) {
  const { t, language } = useText();
  const complain = useComplain();
  const show = useMutation({ mutationFn: () => addressOf(seq), onError: complain });
  const found = show.data;
  return (
    <Item name={t('audit.address.label')}>
      {found ? (
        found.state === 'known' ? (
          <span className="mono">{found.address}</span>
        ) : (
          t(`audit.address.${found.state}`)
        )
      ) : (
        <Button variant="default" size="compact-sm" loading={show.isPending} onClick={() => show.mutate()}>
          {t('audit.address.show', { until: dateTime(until, language) })}
        </Button>
      )}
      <small>{t('audit.address.note')}</small>
    </Item>
  );
}
