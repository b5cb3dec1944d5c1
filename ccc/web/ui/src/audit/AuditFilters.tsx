import { Checkbox, Select, TextInput } from '@mantine/core';
import { useMemo, useState } from 'react';
import { useMe } from '../app/meta';
import { useText } from '../i18n';
import { isSerial, normalSerial } from '../serial';
import classes from './Audit.module.css';
import { type AuditSearch, outcomes } from './search';
import { operations, operationText } from './texts';

/** What of the log is shown; each change counts at once. */
export function AuditFilters({ search, onChange }: { search: AuditSearch; onChange(change: AuditSearch): void }) {
  const { t } = useText();
  const me = useMe().user.id;
  const [serial, setSerial] = useState(search.serial ?? '');
  const what = useMemo(() => {
    const all = operations.map((value) => ({ value, label: operationText(t, value) }));
    return all.sort((a, b) => a.label.localeCompare(b.label));
  }, [t]);
  return (
    <div className={classes.filters}>
      <Select
        label={t('audit.filter.what')}
        placeholder={t('audit.filter.anything')}
        searchable
        clearable
        value={search.operation ?? null}
        data={what}
        onChange={(v) => onChange({ operation: v ?? undefined } as AuditSearch)}
      />
      <Select
        label={t('audit.filter.outcome')}
        allowDeselect={false}
        value={search.outcome ?? ''}
        data={[
          { value: '', label: t('audit.filter.any') },
          ...outcomes.map((value) => ({ value, label: t(`audit.outcome.${value}`) })),
        ]}
        onChange={(v) => onChange({ outcome: outcomes.find((o) => o === v) } as AuditSearch)}
      />
      <TextInput
        label={t('system.serial')}
        inputMode="numeric"
        placeholder="0000000000"
        value={serial}
        onChange={(e) => {
          const value = e.currentTarget.value;
          setSerial(value);
          const normal = normalSerial(value);
          if (isSerial(normal)) onChange({ serial: normal });
          else if (search.serial) onChange({ serial: undefined } as unknown as AuditSearch);
        }}
      />
      <TextInput
        type="date"
        label={t('audit.filter.from')}
        value={search.from ?? ''}
        onChange={(e) => onChange({ from: e.currentTarget.value })}
      />
      <TextInput
        type="date"
        label={t('audit.filter.to')}
        value={search.to ?? ''}
        onChange={(e) => onChange({ to: e.currentTarget.value })}
      />
      <Checkbox
        className={classes.mine}
        label={t('audit.filter.mine')}
        checked={search.user === me}
        onChange={(e) => onChange({ user: e.currentTarget.checked ? me : '' })}
      />
    </div>
  );
}
