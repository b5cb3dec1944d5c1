import { Avatar, Menu, Stack, Text, UnstyledButton, useMantineColorScheme } from '@mantine/core';
import { useDisclosure } from '@mantine/hooks';
import {
  IconCheck,
  IconDeviceDesktop,
  IconKey,
  IconLogout,
  IconMoon,
  IconShieldLock,
  IconSun,
  IconUser,
} from '@tabler/icons-react';
import { useQueryClient } from '@tanstack/react-query';
import { Link, useNavigate } from '@tanstack/react-router';
import { api, call } from '../api/client';
import { asApiError } from '../api/problem';
import type { Language } from '../api/types';
import { sessionQuery, useMe, useMeta } from '../app/meta';
import { languages, showLanguage, useText } from '../i18n';
import classes from './AccountMenu.module.css';
import { languageNames } from './Foot';
import { useComplain } from './notify';
import { PasswordModal } from './PasswordModal';

/** Who is signed in, and what concerns the person and not the systems. */
export function AccountMenu() {
  const { t, language } = useText();
  const me = useMe();
  const meta = useMeta();
  const complain = useComplain();
  const navigate = useNavigate();
  const queryClient = useQueryClient();
  const [passwordOpen, password] = useDisclosure(false);

  const choose = async (to: Language) => {
    await showLanguage(to);
    queryClient.setQueryData(sessionQuery.queryKey, { ...me, user: { ...me.user, language: to } });
    await call(api.PUT('/session/language', { body: { language: to } })).catch(complain);
  };
  const signOut = async () => {
    try {
      await call(api.DELETE('/session'));
    } catch (thrown) {
      if (asApiError(thrown).code !== 'unauthenticated') {
        complain(thrown);
        return;
      }
    }
    queryClient.removeQueries({ queryKey: ['session'] });
    await navigate({ to: '/sign-in' });
    queryClient.clear();
  };

  return (
    <>
      <Menu position="bottom-end" width={260}>
        <Menu.Target>
          <UnstyledButton className={classes.button} aria-label={t('account.menu', { name: me.user.name })}>
            <Avatar size={32} radius="xl" color="brand" variant="filled" aria-hidden="true">
              <span className={classes.initials} data-initials={initials(me.user.name)} />
            </Avatar>
          </UnstyledButton>
        </Menu.Target>
        <Menu.Dropdown>
          <Stack gap={0} px="sm" py="xs">
            <Text fw={600} size="sm" truncate>
              {me.user.name}
            </Text>
            <Text size="xs" c="dimmed" truncate>
              {me.user.email}
            </Text>
            <Text size="xs" c="dimmed">
              {[...me.user.roles.map((role) => t(`role.${role}`)), me.tenant.name].join(' · ')}
            </Text>
          </Stack>
          <Menu.Divider />
          <Menu.Label>{t('account.language')}</Menu.Label>
          {languages.map((l) => (
            <Menu.Item
              key={l}
              lang={l}
              onClick={() => void choose(l)}
              aria-current={l === language}
              rightSection={l === language ? <IconCheck size={16} /> : null}
            >
              {languageNames[l]}
            </Menu.Item>
          ))}
          <Menu.Label>{t('account.appearance')}</Menu.Label>
          <Appearance />
          <Menu.Divider />
          <Menu.Item leftSection={<IconUser size={16} />} renderRoot={(props) => <Link {...props} to="/account" />}>
            {t('security.menu')}
          </Menu.Item>
          <Menu.Item leftSection={<IconKey size={16} />} onClick={password.open}>
            {t('account.password')}
          </Menu.Item>
          <Menu.Item
            leftSection={<IconShieldLock size={16} />}
            renderRoot={(props) => <Link {...props} to="/privacy" />}
          >
            {t('privacy.title')}
          </Menu.Item>
          <Menu.Item leftSection={<IconLogout size={16} />} onClick={() => void signOut()}>
            {t('account.signOut')}
          </Menu.Item>
          <Text size="xs" c="dimmed" px="sm" py={6}>
            {meta.version}
          </Text>
        </Menu.Dropdown>
      </Menu>
      <PasswordModal opened={passwordOpen} onClose={password.close} />
    </>
  );
}

const schemes = [
  { value: 'light', icon: <IconSun size={16} /> },
  { value: 'dark', icon: <IconMoon size={16} /> },
  { value: 'auto', icon: <IconDeviceDesktop size={16} /> },
] as const;

function Appearance() {
  const { t } = useText();
  const { colorScheme, setColorScheme } = useMantineColorScheme();
  return schemes.map(({ value, icon }) => (
    <Menu.Item
      key={value}
      leftSection={icon}
      onClick={() => setColorScheme(value)}
      aria-current={value === colorScheme}
      rightSection={value === colorScheme ? <IconCheck size={16} /> : null}
    >
      {t(`account.scheme.${value}`)}
    </Menu.Item>
  ));
}

function initials(name: string): string {
  const words = name.trim().split(/\s+/);
  return [words[0], words.length > 1 ? words.at(-1) : '']
    .map((w) => w?.[0] ?? '')
    .join('')
    .toUpperCase();
}
