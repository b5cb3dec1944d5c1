import { Paper, Title } from '@mantine/core';
import type { ReactNode } from 'react';
import classes from './Security.module.css';

/** A part of the page about the own account. */
export function Section({ id, title, children }: { id: string; title: string; children: ReactNode }) {
  return (
    <Paper withBorder radius="lg" className={classes.section} component="section" aria-labelledby={id}>
      <Title order={2} id={id} mb="sm">
        {title}
      </Title>
      {children}
    </Paper>
  );
}
