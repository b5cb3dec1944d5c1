import { localStorageColorSchemeManager, MantineProvider } from '@mantine/core';
import { Notifications } from '@mantine/notifications';
import { QueryClient, QueryClientProvider, useQuery } from '@tanstack/react-query';
import { RouterProvider } from '@tanstack/react-router';
import { setNonce } from 'get-nonce';
import { useEffect, useMemo } from 'react';
import { onUnauthenticated } from '../api/client';
import { asApiError } from '../api/problem';
import { onTenantGone } from '../api/tenant';
import type { Meta } from '../api/types';
import { TextProvider } from '../i18n';
import { FailurePage } from '../pages/Failure';
import { MetaContext, metaQuery } from './meta';
import { makeRouter } from './router';
import { themeOf } from './theme';

const queryClient = new QueryClient({
  defaultOptions: {
    queries: {
      refetchOnWindowFocus: false,
      // What the server has decided will not change by asking again.
      retry: (failures, error) => failures < 2 && ['network', 'unreadable'].includes(asApiError(error).code),
    },
  },
});

const router = makeRouter(queryClient);
const colorSchemes = localStorageColorSchemeManager({ key: 'ccc-color-scheme' });

// The server lets in only the styles that carry the nonce of its answer.
const nonce = document.querySelector<HTMLMetaElement>('meta[property="csp-nonce"]')?.nonce ?? '';
setNonce(nonce);

onUnauthenticated(() => {
  const { pathname, href } = router.state.location;
  if (pathname === '/sign-in') return;
  queryClient.removeQueries({ queryKey: ['session'] });
  void router.navigate({ to: '/sign-in', search: { next: href, ended: true } });
});

onTenantGone(() => {
  queryClient.removeQueries({ queryKey: ['session'] });
  void router.invalidate();
});

const unbranded: Meta['brand'] = { id: '', name: '', legal: '' };

export function App() {
  return (
    <QueryClientProvider client={queryClient}>
      <TextProvider>
        <Branded />
      </TextProvider>
    </QueryClientProvider>
  );
}

function Branded() {
  const { data: meta, error, refetch } = useQuery(metaQuery);
  const brand = meta?.brand ?? unbranded;
  const theme = useMemo(() => themeOf(brand), [brand]);
  useEffect(() => {
    document.title = `${brand.name} Control Center`.trim();
  }, [brand]);
  return (
    <MantineProvider
      theme={theme}
      defaultColorScheme="auto"
      colorSchemeManager={colorSchemes}
      getStyleNonce={() => nonce}
    >
      <Notifications position="bottom-right" autoClose={5000} />
      {meta && (
        <MetaContext value={meta}>
          <RouterProvider router={router} />
        </MetaContext>
      )}
      {!meta && error && <FailurePage error={error} reset={() => void refetch()} />}
    </MantineProvider>
  );
}
