import { Select } from '@mantine/core';
import { useQuery } from '@tanstack/react-query';
import type { ReactNode } from 'react';
import { useText } from '../i18n';
import { sitesQuery } from './queries';

/** Chooses the site that a system is at; empty: none. */
export function SiteSelect({
  value = '',
  onChange,
  error,
}: {
  value?: string;
  onChange?: (site: string) => void;
  error?: ReactNode;
}) {
  const { t } = useText();
  const { data: sites = [] } = useQuery(sitesQuery);
  return (
    <Select
      label={t('organisation.sites.site')}
      description={t('organisation.sites.hint')}
      searchable
      allowDeselect={false}
      data={[
        { value: '', label: t('organisation.sites.at') },
        ...sites.map(({ id, name }) => ({ value: id, label: name })),
      ]}
      value={value}
      error={error}
      onChange={(site) => onChange?.(site ?? '')}
    />
  );
}
