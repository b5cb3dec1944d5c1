import { Select } from '@mantine/core';
import { useQuery } from '@tanstack/react-query';
import { useMemo } from 'react';
import { fleet, useFleet } from '../fleet/store';
import { useText } from '../i18n';
import { groupedSerial } from '../serial';
import { sitesQuery } from './queries';

/** What a role or a grant is for: one site, one system, or everything. */
export interface Part {
  site_id?: string;
  system_id?: string;
}

/** Names a part; empty for everything. */
export function usePartName(): (part: Part) => string {
  const { t } = useText();
  const { data: sites = [] } = useQuery(sitesQuery);
  useFleet(); // systems come and go
  return ({ site_id, system_id }) => {
    if (site_id) return sites.find(({ id }) => id === site_id)?.name ?? t('organisation.part.formerSite');
    if (system_id) return fleet.get(system_id)?.name ?? t('organisation.part.formerSystem');
    return '';
  };
}

/** Chooses a part. */
export function PartSelect({
  value,
  onChange,
  whole = false,
  error,
}: {
  value: Part;
  onChange(part: Part): void;
  /** Only everything can be chosen. */
  whole?: boolean;
  error?: string | undefined;
}) {
  const { t } = useText();
  const { data: sites = [] } = useQuery(sitesQuery);
  const { structure } = useFleet();
  // biome-ignore lint/correctness/useExhaustiveDependencies: the store is read again when its counter rises
  const systems = useMemo(
    () =>
      [...fleet.all()]
        .map(({ id, name, serial }) => ({ value: `y${id}`, label: `${name} · ${groupedSerial(serial)}` }))
        .sort((a, b) => a.label.localeCompare(b.label)),
    [structure],
  );
  const key = value.site_id ? `s${value.site_id}` : value.system_id ? `y${value.system_id}` : 'all';
  const data = [
    { group: t('organisation.part.label'), items: [{ value: 'all', label: t('organisation.part.all') }] },
    ...(whole
      ? []
      : [
          {
            group: t('organisation.tab.sites'),
            items: sites.map(({ id, name }) => ({ value: `s${id}`, label: name })),
          },
          { group: t('fleet.title'), items: systems },
        ]),
  ];
  return (
    <Select
      label={t('organisation.part.label')}
      data={data}
      value={key}
      disabled={whole}
      searchable={!whole}
      limit={60}
      allowDeselect={false}
      error={error}
      nothingFoundMessage={t('filter.none')}
      onChange={(chosen) => {
        const id = chosen?.slice(1) ?? '';
        if (chosen === 'all') onChange({});
        else if (chosen?.startsWith('s')) onChange({ site_id: id });
        else onChange({ system_id: id });
      }}
    />
  );
}
