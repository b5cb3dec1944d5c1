import { Menu, UnstyledButton } from '@mantine/core';
import { IconChevronDown, IconMenu2 } from '@tabler/icons-react';
import { Link, useLocation } from '@tanstack/react-router';
import { type RefObject, useLayoutEffect, useRef, useState } from 'react';
import { useText } from '../i18n';
import { type Area, useAreas } from './areas';
import classes from './Nav.module.css';

/** The areas of the pages: as many links as there is room for in the header, the rest in a menu. */
export function Nav() {
  const { t } = useText();
  const areas = useAreas();
  const { pathname } = useLocation();
  const list = useRef<HTMLDivElement>(null);
  const fitting = useFitting(list, areas.map(({ name }) => t(`nav.${name}`)).join());
  const over = areas.slice(fitting);
  const isHere = ({ to }: Area) => pathname === to || (to !== '/' && pathname.startsWith(`${to}/`));
  return (
    <nav className={classes.nav} aria-label={t('nav.label')}>
      <div className={classes.list} ref={list}>
        {areas.map(({ name, to }, i) => (
          <Link
            key={to}
            to={to}
            className={classes.link}
            activeOptions={{ exact: to === '/', includeSearch: false }}
            data-over={i >= fitting}
          >
            {t(`nav.${name}`)}
          </Link>
        ))}
      </div>
      {over.length > 0 && (
        <Menu position="bottom-start" width={240}>
          <Menu.Target>
            <UnstyledButton
              className={classes.more}
              data-here={over.some(isHere)}
              {...(fitting === 0 && { 'aria-label': t('nav.label') })}
            >
              {fitting === 0 ? (
                <IconMenu2 size={20} />
              ) : (
                <>
                  {t('nav.more')} <IconChevronDown size={14} aria-hidden="true" />
                </>
              )}
            </UnstyledButton>
          </Menu.Target>
          <Menu.Dropdown>
            {over.map((area) => (
              <Menu.Item
                key={area.to}
                className={classes.item}
                aria-current={isHere(area) ? 'page' : undefined}
                renderRoot={(props) => <Link {...props} to={area.to} />}
              >
                {t(`nav.${area.name}`)}
              </Menu.Item>
            ))}
          </Menu.Dropdown>
        </Menu>
      )}
    </nav>
  );
}

/** How many of a wrapping list's items are in its first line; texts is what they say. */
function useFitting(list: RefObject<HTMLElement | null>, texts: string): number {
  const [fitting, setFitting] = useState(Number.POSITIVE_INFINITY);
  // biome-ignore lint/correctness/useExhaustiveDependencies: other texts have other widths
  useLayoutEffect(() => {
    const element = list.current;
    if (!element) return;
    const measure = () => {
      const items = [...element.children] as HTMLElement[];
      setFitting(element.clientWidth === 0 ? 0 : items.filter((x) => x.offsetTop === items[0]?.offsetTop).length);
    };
    measure();
    const observer = new ResizeObserver(measure);
    observer.observe(element);
    return () => observer.disconnect();
  }, [list, texts]);
  return fitting;
}
