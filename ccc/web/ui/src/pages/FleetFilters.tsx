import { Button, Indicator, MultiSelect, Pill, Popover, Select, Stack } from '@mantine/core';
import { IconFilter } from '@tabler/icons-react';
import { useQuery } from '@tanstack/react-query';
import { useState } from 'react';
import { groupsQuery } from '../api/groups';
import { GroupsModal } from '../components/GroupsModal';
import { useReasonsInUse, useTagCounts } from '../fleet/useRows';
import { parseReason } from '../history/reason';
import { useText } from '../i18n';
import { sitesQuery } from '../organisation/queries';
import { count } from '../time/format';
import classes from './FleetFilters.module.css';
import type { FleetSearch } from './fleetSearch';

type Props = {
  search: FleetSearch;
  onChange(change: Partial<Record<keyof FleetSearch, unknown>>): void;
};

/** Group, site and tags, behind one button. */
export function FleetFilters({ search, onChange }: Props) {
  const { t, language } = useText();
  const { data: groups = [] } = useQuery(groupsQuery);
  const { data: sites = [] } = useQuery(sitesQuery);
  const tags = useTagCounts();
  const reasons = useReasonsInUse();
  const [managing, setManaging] = useState(false);
  const [opened, setOpened] = useState(false);
  const active = (search.reason ? 1 : 0) + (search.group ? 1 : 0) + (search.site ? 1 : 0) + (search.tags?.length ?? 0);
  return (
    <>
      <Popover opened={opened} onChange={setOpened} width={300} position="bottom-start" shadow="md" trapFocus withRoles>
        <Indicator label={active} size={18} disabled={active === 0}>
          <Popover.Target>
            <Button
              variant="default"
              leftSection={<IconFilter size={17} />}
              className={classes.button}
              onClick={() => setOpened((o) => !o)}
            >
              <span className={classes.word}>{t('filter.button')}</span>
            </Button>
          </Popover.Target>
        </Indicator>
        <Popover.Dropdown aria-label={t('filter.button')}>
          <Stack gap="sm">
            {(reasons.length > 0 || search.reason) && (
              <Select
                label={t('history.filter.label')}
                placeholder={t('history.filter.any')}
                data={[
                  ...reasons.map(({ reason, count: n }) => ({
                    value: reason,
                    label: `${t(`history.reason.${reason}`)} (${count(n, language)})`,
                  })),
                  // One that no system is offline for any more.
                  ...(search.reason && !reasons.some((r) => r.reason === search.reason)
                    ? [{ value: search.reason, label: t(`history.reason.${search.reason}`) }]
                    : []),
                ]}
                value={search.reason ?? null}
                onChange={(reason) => onChange({ reason: parseReason(reason) })}
                nothingFoundMessage={t('filter.none')}
                clearable
                searchable
                openOnFocus={false}
              />
            )}
            <Select
              label={t('filter.group')}
              placeholder={t('filter.anyGroup')}
              data={groups.map((g) => ({ value: g.id, label: g.name }))}
              value={search.group ?? null}
              onChange={(group) => onChange({ group: group ?? undefined })}
              nothingFoundMessage={t('filter.none')}
              clearable
              searchable
              openOnFocus={false}
            />
            {sites.length > 0 && (
              <Select
                label={t('onboarding.site')}
                placeholder={t('onboarding.anySite')}
                data={sites.map((s) => ({ value: s.id, label: s.name }))}
                value={search.site ?? null}
                onChange={(site) => onChange({ site: site ?? undefined })}
                nothingFoundMessage={t('filter.none')}
                clearable
                searchable
                openOnFocus={false}
              />
            )}
            <MultiSelect
              label={t('filter.tags')}
              placeholder={search.tags?.length ? '' : t('filter.anyTag')}
              data={tags.map((tag) => tag.name)}
              value={search.tags ?? []}
              onChange={(value) => onChange({ tags: value.length > 0 ? value : undefined })}
              nothingFoundMessage={t('filter.none')}
              renderOption={({ option }) => (
                <span className={classes.option}>
                  <span>{option.value}</span>
                  <span className={classes.count}>
                    {count(tags.find((tag) => tag.name === option.value)?.count ?? 0, language)}
                  </span>
                </span>
              )}
              clearable
              searchable
              openOnFocus={false}
              limit={100}
            />
            <Button
              variant="subtle"
              size="compact-sm"
              className={classes.manage}
              onClick={() => {
                setOpened(false);
                setManaging(true);
              }}
            >
              {t('groups.manage')}
            </Button>
          </Stack>
        </Popover.Dropdown>
      </Popover>
      <GroupsModal opened={managing} onClose={() => setManaging(false)} />
    </>
  );
}

/** What is filtered by, each with a way to take it away. */
export function FilterPills({ search, onChange }: Props) {
  const { t } = useText();
  const { data: groups = [] } = useQuery(groupsQuery);
  const { data: sites = [] } = useQuery(sitesQuery);
  const tags = search.tags ?? [];
  if (!search.reason && !search.group && !search.site && tags.length === 0) return null;
  const reason = search.reason && t(`history.reason.${search.reason}`);
  const group = groups.find((g) => g.id === search.group);
  const site = sites.find((s) => s.id === search.site);
  return (
    <Pill.Group className={classes.pills}>
      {reason && (
        <Pill
          className={classes.pill}
          withRemoveButton
          onRemove={() => onChange({ reason: undefined })}
          removeButtonProps={{
            'aria-label': t('filter.remove', { name: reason }),
            tabIndex: 0,
            'aria-hidden': false,
          }}
        >
          {t('history.filter.label')}: {reason}
        </Pill>
      )}
      {search.group && (
        <Pill
          className={classes.pill}
          withRemoveButton
          onRemove={() => onChange({ group: undefined })}
          removeButtonProps={{
            'aria-label': t('filter.remove', { name: group?.name ?? '' }),
            tabIndex: 0,
            'aria-hidden': false,
          }}
        >
          {t('filter.group')}: {group?.name ?? '…'}
        </Pill>
      )}
      {search.site && (
        <Pill
          className={classes.pill}
          withRemoveButton
          onRemove={() => onChange({ site: undefined })}
          removeButtonProps={{
            'aria-label': t('filter.remove', { name: site?.name ?? '' }),
            tabIndex: 0,
            'aria-hidden': false,
          }}
        >
          {t('onboarding.site')}: {site?.name ?? '…'}
        </Pill>
      )}
      {tags.map((tag) => (
        <Pill
          key={tag}
          className={classes.pill}
          withRemoveButton
          onRemove={() => {
            const rest = tags.filter((other) => other !== tag);
            onChange({ tags: rest.length > 0 ? rest : undefined });
          }}
          removeButtonProps={{ 'aria-label': t('filter.remove', { name: tag }), tabIndex: 0, 'aria-hidden': false }}
        >
          {tag}
        </Pill>
      ))}
    </Pill.Group>
  );
}
