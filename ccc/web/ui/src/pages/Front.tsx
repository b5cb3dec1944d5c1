import { Paper, Title } from '@mantine/core';
import { type ReactNode, useEffect } from 'react';
import { useMeta } from '../app/meta';
import { Mark } from '../components/Brand';
import { Foot } from '../components/Foot';
import classes from './Front.module.css';

/** A page for people who are not signed in yet. */
export function Front({ title, children }: { title: string; children: ReactNode }) {
  const { brand } = useMeta();
  useEffect(() => {
    document.title = `${title} · ${brand.name} Control Center`;
  }, [title, brand]);
  return (
    <div className={classes.page}>
      <main className={classes.main}>
        <div className={classes.brand}>
          <Mark size={44} />
          <Title order={1} className={classes.title}>
            {brand.name} <span>Control Center</span>
          </Title>
        </div>
        <Paper className={classes.card} withBorder radius="lg">
          {children}
        </Paper>
      </main>
      <Foot />
    </div>
  );
}
