import { MultiSelect, TagsInput } from '@mantine/core';
import { IconPlus } from '@tabler/icons-react';
import { useQuery } from '@tanstack/react-query';
import { type ReactNode, useState } from 'react';
import { limits } from '../api/generated/limits';
import { groupsQuery, useMakeGroup } from '../api/groups';
import type { Group } from '../api/types';
import { useTagCounts } from '../fleet/useRows';
import { useText } from '../i18n';
import classes from './LabelInputs.module.css';
import { useComplain } from './notify';

interface Props<T> {
  value?: T[];
  onChange?: (value: T[]) => void;
  error?: ReactNode;
}

/** Chooses tags, among those in use or new ones. */
export function TagsField({ value = [], onChange, error }: Props<string>) {
  const { t } = useText();
  const tags = useTagCounts();
  return (
    <TagsInput
      label={t('system.tags')}
      description={t('system.tagsHint')}
      data={tags.map((tag) => tag.name)}
      value={value}
      onChange={(next) => onChange?.(next.map((tag) => tag.trim().slice(0, limits.tag)).filter(Boolean))}
      maxTags={limits.tags}
      limit={30}
      acceptValueOnBlur
      error={error}
    />
  );
}

const newGroup = 'new:';

/** Chooses groups; a name that is none yet can be made one. */
export function GroupsInput({ value = [], onChange, error }: Props<Group>) {
  const { t } = useText();
  const { data: groups = [] } = useQuery(groupsQuery);
  const makeGroup = useMakeGroup();
  const complain = useComplain();
  const [search, setSearch] = useState('');
  const name = search.trim();
  const data = groups.map((g) => ({ value: g.id, label: g.name }));
  if (name && !groups.some((g) => g.name.toLowerCase() === name.toLowerCase())) {
    data.push({ value: newGroup + name, label: name });
  }
  const choose = async (ids: string[]) => {
    try {
      const chosen = await Promise.all(
        ids.map((id) =>
          id.startsWith(newGroup)
            ? makeGroup(id.slice(newGroup.length))
            : (groups.find((g) => g.id === id) ?? value.find((g) => g.id === id)),
        ),
      );
      onChange?.(chosen.filter((g) => g !== undefined));
      setSearch('');
    } catch (thrown) {
      complain(thrown);
    }
  };
  return (
    <MultiSelect
      label={t('system.groups')}
      data={data}
      value={value.map((g) => g.id)}
      onChange={(ids) => void choose(ids)}
      searchValue={search}
      onSearchChange={(text) => setSearch(text.slice(0, limits.group))}
      maxValues={limits.groups}
      renderOption={({ option }) =>
        option.value.startsWith(newGroup) ? (
          <span className={classes.make}>
            <IconPlus size={15} aria-hidden="true" />
            {t('groups.make', { name: option.label })}
          </span>
        ) : (
          option.label
        )
      }
      nothingFoundMessage={t('groups.typeNew')}
      searchable
      hidePickedOptions
      error={error}
    />
  );
}
