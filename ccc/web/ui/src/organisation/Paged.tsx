import { Button, Skeleton, Stack, Text } from '@mantine/core';
import type { ReactNode } from 'react';
import { problemText } from '../api/problemText';
import { useText } from '../i18n';
import classes from './Organisation.module.css';

interface Result<T> {
  data?: { pages: { items: T[] }[] } | undefined;
  error: unknown;
  isPending: boolean;
  hasNextPage: boolean;
  isFetchingNextPage: boolean;
  fetchNextPage(): unknown;
}

/** A list that comes in pages; empty is what stands there where it has nothing. */
export function Paged<T>({
  result,
  empty,
  children,
}: {
  result: Result<T>;
  empty: string;
  children(item: T): ReactNode;
}) {
  const { t } = useText();
  if (result.isPending) return <Waiting />;
  if (result.error && !result.data) return <Text c="dimmed">{problemText(t, result.error)}</Text>;
  const items = result.data?.pages.flatMap((page) => page.items) ?? [];
  if (items.length === 0) return <Text c="dimmed">{empty}</Text>;
  return (
    <>
      <ul className={classes.list}>{items.map(children)}</ul>
      {result.hasNextPage && (
        <Button
          variant="subtle"
          size="compact-sm"
          mt="sm"
          loading={result.isFetchingNextPage}
          onClick={() => void result.fetchNextPage()}
        >
          {t('organisation.more')}
        </Button>
      )}
    </>
  );
}

/** The same for a list that comes at once. */
export function Listed<T>({
  result,
  empty,
  children,
}: {
  result: { data?: T[] | undefined; error: unknown; isPending: boolean };
  empty: string;
  children(item: T): ReactNode;
}) {
  const { t } = useText();
  if (result.isPending) return <Waiting />;
  if (result.error && !result.data) return <Text c="dimmed">{problemText(t, result.error)}</Text>;
  if (!result.data?.length) return <Text c="dimmed">{empty}</Text>;
  return <ul className={classes.list}>{result.data.map(children)}</ul>;
}

function Waiting() {
  return (
    <Stack gap="md" aria-hidden="true">
      {[60, 45, 52].map((width) => (
        <Skeleton key={width} height={16} width={`${width}%`} />
      ))}
    </Stack>
  );
}
