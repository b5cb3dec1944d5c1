import { IconChevronLeft } from '@tabler/icons-react';
import { Link, type LinkProps } from '@tanstack/react-router';
import classes from './BackLink.module.css';

export function BackLink({ label, ...link }: { label: string } & LinkProps) {
  return (
    <Link {...link} className={classes.link}>
      <IconChevronLeft size={16} aria-hidden="true" />
      {label}
    </Link>
  );
}
