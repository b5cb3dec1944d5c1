import { Popover, Text, TextInput, UnstyledButton } from '@mantine/core';
import { IconBuilding, IconCheck, IconSearch, IconSelector } from '@tabler/icons-react';
import { useQuery } from '@tanstack/react-query';
import { useState } from 'react';
import { inTenant } from '../api/tenant';
import { useMe } from '../app/meta';
import { useText } from '../i18n';
import { tenantsQuery } from '../organisation/queries';
import classes from './TenantSwitch.module.css';

/** Above so many tenants one is looked for by its name. */
const manyTenants = 8;

/** Says in which tenant the person works, and leads to the others that he may see. */
export function TenantSwitch() {
  const { t } = useText();
  const { tenant } = useMe();
  const { data: tenants = [] } = useQuery(tenantsQuery);
  const [query, setQuery] = useState('');
  if (tenants.length < 2) return <div className={classes.only}>{tenant.name}</div>;
  const home = tenants[0]?.id;
  const words = query.toLowerCase().split(/\s+/);
  const found = tenants.filter(({ name }) => words.every((word) => name.toLowerCase().includes(word)));
  return (
    <Popover position="bottom-end" width={300} trapFocus returnFocus onClose={() => setQuery('')}>
      <Popover.Target>
        <UnstyledButton className={classes.button} aria-label={t('organisation.switch.button', { name: tenant.name })}>
          <IconBuilding size={18} className={classes.icon} aria-hidden="true" />
          <span className={classes.name}>{tenant.name}</span>
          <IconSelector size={14} aria-hidden="true" />
        </UnstyledButton>
      </Popover.Target>
      <Popover.Dropdown p="xs">
        <Text size="xs" c="dimmed" px="xs" pb={4}>
          {t('organisation.switch.title')}
        </Text>
        {tenants.length > manyTenants && (
          <TextInput
            size="sm"
            mb={6}
            aria-label={t('organisation.switch.search')}
            placeholder={t('organisation.switch.search')}
            leftSection={<IconSearch size={15} />}
            value={query}
            onChange={(e) => setQuery(e.currentTarget.value)}
          />
        )}
        <ul className={classes.list}>
          {found.map((one) => (
            <li key={one.id}>
              {/* Another tenant is another document. */}
              <a
                className={classes.tenant}
                href={inTenant('/', one.id === home ? undefined : one.id)}
                aria-current={one.id === tenant.id}
              >
                <span className={classes.what}>
                  {one.name}
                  <small>{t(`organisation.via.${one.via}`)}</small>
                </span>
                {one.id === tenant.id && <IconCheck size={16} aria-hidden="true" />}
              </a>
            </li>
          ))}
        </ul>
        {found.length === 0 && (
          <Text size="sm" c="dimmed" px="xs">
            {t('filter.none')}
          </Text>
        )}
      </Popover.Dropdown>
    </Popover>
  );
}
