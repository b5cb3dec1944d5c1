import { Select, TextInput } from '@mantine/core';
import { keepPreviousData, useInfiniteQuery, useQuery } from '@tanstack/react-query';
import { useState } from 'react';
import { useMay, useMe } from '../app/meta';
import { useText } from '../i18n';
import { aboveQuery, belowQuery } from './queries';

/** Stands for a tenant whose id is typed. */
const typed = 'typed';

/** Chooses another tenant: one above the own one or right below it, or by its id. */
export function TenantField({
  value,
  onChange,
  error,
}: {
  value: string;
  onChange(id: string): void;
  error?: string | undefined;
}) {
  const { t } = useText();
  const { tenant } = useMe();
  const { whole } = useMay();
  const [query, setQuery] = useState('');
  const [byID, setByID] = useState(false);
  const { data: above = [] } = useQuery({ ...aboveQuery, enabled: whole('grants.read') });
  const hasBelow = whole('tenant.create') && tenant.kind !== 'customer';
  const { data: pages } = useInfiniteQuery({
    ...belowQuery(query),
    enabled: hasBelow,
    placeholderData: keepPreviousData,
  });
  const known = [...above, ...(pages?.pages.flatMap((page) => page.items) ?? [])];
  const names = new Map(known.map(({ id, name }) => [id, name]));
  // What is not found is looked for on: the field stays.
  const some = known.length > 0 || query !== '';
  const free = byID || !some;
  return (
    <>
      {(some || byID) && (
        <Select
          label={t('organisation.tenant')}
          searchable
          allowDeselect={false}
          data={[
            ...[...names].map(([id, name]) => ({ value: id, label: name })),
            { value: typed, label: t('organisation.otherTenant') },
          ]}
          value={byID ? typed : value || null}
          error={byID ? undefined : error}
          // What the server has found is not to be sought through again.
          filter={({ options }) => options}
          onSearchChange={(text) => setQuery(known.some(({ name }) => name === text) ? '' : text.slice(0, 100))}
          onChange={(id) => {
            setByID(id === typed);
            onChange(id === typed ? '' : (id ?? ''));
          }}
        />
      )}
      {free && (
        <TextInput
          label={t('organisation.tenantID')}
          description={t('organisation.tenantIDHint')}
          maxLength={64}
          spellCheck={false}
          autoComplete="off"
          value={value}
          error={error}
          onChange={(e) => onChange(e.currentTarget.value.trim())}
        />
      )}
    </>
  );
}
