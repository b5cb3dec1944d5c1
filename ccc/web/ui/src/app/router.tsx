import type { QueryClient } from '@tanstack/react-query';
import {
  createRootRouteWithContext,
  createRoute,
  createRouter,
  lazyRouteComponent,
  Outlet,
  redirect,
  retainSearchParams,
} from '@tanstack/react-router';
import { asApiError } from '../api/problem';
import { inTenant, parseTenantSearch, type TenantSearch, workingIn } from '../api/tenant';
import { type AuditSearch, parseAuditSearch } from '../audit/search';
import { FailurePage, NotFoundPage, ShellFailurePage } from '../pages/Failure';
import { FleetPage } from '../pages/Fleet';
import { type FleetSearch, parseFleetSearch } from '../pages/fleetSearch';
import { Shell } from '../pages/Shell';
import { SignInPage } from '../pages/SignIn';
import { tenantOf } from '../remote/open';
import { parseRecordsSearch, type RecordsSearch } from '../remote/search';
import { type NewRolloutSearch, parseNewRolloutSearch } from '../rollout/search';
import { sessionQuery } from './meta';

const root = createRootRouteWithContext<{ queryClient: QueryClient }>()({
  // The tenant of a document does not change: another one is loaded anew.
  beforeLoad: ({ location, preload }) => {
    if (!preload && parseTenantSearch(location.search).tenant !== workingIn) return leaveTo(location.href);
  },
  component: Outlet,
  errorComponent: FailurePage,
  notFoundComponent: NotFoundPage,
});

/** Loads another document in place of this one; what waits for it waits until then. */
function leaveTo(href: string): Promise<never> {
  window.location.replace(href);
  return new Promise(() => {});
}

/** Of routes that keep the tenant that is in the address. */
const keepsTenant = {
  validateSearch: (search: Record<string, unknown>): TenantSearch => parseTenantSearch(search),
  search: { middlewares: [retainSearchParams<TenantSearch>(['tenant'])] },
};

const signIn = createRoute({
  getParentRoute: () => root,
  path: '/sign-in',
  validateSearch: (search: Record<string, unknown>): { next?: string; ended?: boolean; step?: 'second' | 'enrol' } => ({
    // Only a path of this site; //host would be another one.
    ...(typeof search.next === 'string' && /^\/(?![/\\])/.test(search.next) && { next: search.next }),
    ...(search.ended === true && { ended: true }),
    ...((search.step === 'second' || search.step === 'enrol') && { step: search.step }),
  }),
  component: SignInPage,
});

const invitation = createRoute({
  getParentRoute: () => root,
  path: '/invitation',
  component: lazyRouteComponent(() => import('../pages/Invitation'), 'InvitationPage'),
});

const reset = createRoute({
  getParentRoute: () => root,
  path: '/reset',
  component: lazyRouteComponent(() => import('../pages/Reset'), 'ResetPage'),
});

const oidc = createRoute({
  getParentRoute: () => root,
  path: '/oidc',
  // What the provider adds; nothing of it is shown.
  validateSearch: (search: Record<string, unknown>) => {
    const text = (name: string) => (search[name] === undefined ? '' : String(search[name]));
    return { state: text('state') || '-', code: text('code'), iss: text('iss'), error: text('error') };
  },
  component: lazyRouteComponent(() => import('../pages/Oidc'), 'OidcPage'),
});

const privacy = createRoute({
  getParentRoute: () => root,
  path: '/privacy',
  ...keepsTenant,
  component: lazyRouteComponent(() => import('../pages/Privacy'), 'PrivacyPage'),
});

/** What of the sign-in is missing, by the code that says so; empty: all. */
const missing: Partial<Record<string, '' | 'second' | 'enrol'>> = {
  unauthenticated: '',
  second_factor_needed: 'second',
  second_factor_enrol: 'enrol',
};

const shell = createRoute({
  getParentRoute: () => root,
  id: 'shell',
  ...keepsTenant,
  beforeLoad: async ({ context, location }) => {
    try {
      return { me: await context.queryClient.ensureQueryData(sessionQuery) };
    } catch (thrown) {
      const step = missing[asApiError(thrown).code];
      if (step === undefined) throw thrown;
      const next = location.href === '/' ? {} : { next: location.href };
      throw redirect({ to: '/sign-in', search: step ? { step, ...next } : next });
    }
  },
  component: Shell,
  errorComponent: ShellFailurePage,
});

const fleet = createRoute({
  getParentRoute: () => shell,
  path: '/',
  validateSearch: (search: Record<string, unknown>): FleetSearch => parseFleetSearch(search),
  component: FleetPage,
});

const add = createRoute({
  getParentRoute: () => shell,
  path: '/add',
  component: lazyRouteComponent(() => import('../pages/Add'), 'AddPage'),
});

const onboarding = createRoute({
  getParentRoute: () => shell,
  path: '/onboarding',
  component: lazyRouteComponent(() => import('../onboarding/Onboarding'), 'OnboardingPage'),
});

const sheet = createRoute({
  getParentRoute: () => shell,
  path: '/onboarding/sheet',
  component: lazyRouteComponent(() => import('../onboarding/SheetPage'), 'SheetPage'),
});

const account = createRoute({
  getParentRoute: () => shell,
  path: '/account',
  component: lazyRouteComponent(() => import('../pages/Account'), 'AccountPage'),
});

const system = createRoute({
  getParentRoute: () => shell,
  path: '/systems/$id',
  component: lazyRouteComponent(() => import('../pages/System'), 'SystemPage'),
});

const settings = createRoute({
  getParentRoute: () => shell,
  path: '/systems/$id/settings',
  component: lazyRouteComponent(() => import('../rollout/Settings'), 'SettingsPage'),
});

const rollouts = createRoute({
  getParentRoute: () => shell,
  path: '/rollouts',
  component: lazyRouteComponent(() => import('../rollout/Rollouts'), 'RolloutsPage'),
});

const newRollout = createRoute({
  getParentRoute: () => shell,
  path: '/rollouts/new',
  validateSearch: (search: Record<string, unknown>): NewRolloutSearch => parseNewRolloutSearch(search),
  component: lazyRouteComponent(() => import('../rollout/NewRollout'), 'NewRolloutPage'),
});

const rollout = createRoute({
  getParentRoute: () => shell,
  path: '/rollouts/$id',
  component: lazyRouteComponent(() => import('../rollout/RolloutPage'), 'RolloutPage'),
});

const firmware = createRoute({
  getParentRoute: () => shell,
  path: '/firmware',
  component: lazyRouteComponent(() => import('../firmware/FirmwarePage'), 'FirmwarePage'),
});

const setup = createRoute({
  getParentRoute: () => shell,
  path: '/systems/$id/setup',
  component: lazyRouteComponent(() => import('../pages/Setup'), 'SetupPage'),
});

const map = createRoute({
  getParentRoute: () => shell,
  path: '/map',
  component: lazyRouteComponent(() => import('../map/MapPage'), 'MapPage'),
});

const remote = createRoute({
  getParentRoute: () => shell,
  path: '/remote',
  validateSearch: (search: Record<string, unknown>): RecordsSearch => parseRecordsSearch(search),
  component: lazyRouteComponent(() => import('../pages/RemoteRecords'), 'RemoteRecordsPage'),
});

const remoteSession = createRoute({
  getParentRoute: () => shell,
  path: '/remote/$session',
  // What the gateway adds where it sends a browser back.
  validateSearch: (search: Record<string, unknown>): { label?: string; browser?: string } => ({
    ...(typeof search.label === 'string' && { label: search.label }),
    ...(typeof search.browser === 'string' && { browser: search.browser }),
  }),
  // The gateway sends everybody back to the page in the own tenant.
  beforeLoad: ({ params, location }) => {
    const tenant = workingIn ? undefined : tenantOf(params.session);
    if (tenant) return leaveTo(inTenant(location.href, tenant));
  },
  component: lazyRouteComponent(() => import('../pages/RemoteOpen'), 'RemoteOpenPage'),
});

const audit = createRoute({
  getParentRoute: () => shell,
  path: '/audit',
  validateSearch: (search: Record<string, unknown>): AuditSearch => parseAuditSearch(search),
  component: lazyRouteComponent(() => import('../audit/AuditPage'), 'AuditPage'),
});

const statistics = createRoute({
  getParentRoute: () => shell,
  path: '/statistics',
  component: lazyRouteComponent(() => import('../pages/Statistics'), 'StatisticsPage'),
});

const organisation = createRoute({
  getParentRoute: () => shell,
  path: '/organisation',
  component: lazyRouteComponent(() => import('../organisation/Organisation'), 'OrganisationPage'),
});

const organisationPages = [
  createRoute({
    getParentRoute: () => organisation,
    path: '/',
    component: lazyRouteComponent(() => import('../organisation/Organisation'), 'OrganisationStart'),
  }),
  createRoute({
    getParentRoute: () => organisation,
    path: '/people',
    component: lazyRouteComponent(() => import('../organisation/People'), 'PeoplePage'),
  }),
  createRoute({
    getParentRoute: () => organisation,
    path: '/sites',
    component: lazyRouteComponent(() => import('../organisation/Sites'), 'SitesPage'),
  }),
  createRoute({
    getParentRoute: () => organisation,
    path: '/customers',
    component: lazyRouteComponent(() => import('../organisation/Customers'), 'CustomersPage'),
  }),
  createRoute({
    getParentRoute: () => organisation,
    path: '/access',
    component: lazyRouteComponent(() => import('../organisation/Access'), 'AccessPage'),
  }),
  createRoute({
    getParentRoute: () => organisation,
    path: '/handovers',
    component: lazyRouteComponent(() => import('../organisation/Handovers'), 'HandoversPage'),
  }),
] as const;

const automation = createRoute({
  getParentRoute: () => shell,
  path: '/automation',
  component: lazyRouteComponent(() => import('../automation/Automation'), 'AutomationPage'),
});

export function makeRouter(queryClient: QueryClient) {
  return createRouter({
    routeTree: root.addChildren([
      signIn,
      privacy,
      invitation,
      reset,
      oidc,
      shell.addChildren([
        fleet,
        add,
        onboarding,
        sheet,
        system,
        setup,
        settings,
        rollouts,
        newRollout,
        rollout,
        firmware,
        map,
        remote,
        remoteSession,
        audit,
        statistics,
        account,
        automation,
        organisation.addChildren([...organisationPages]),
      ]),
    ]),
    context: { queryClient },
    defaultPreload: 'intent',
    scrollRestoration: true,
  });
}

declare module '@tanstack/react-router' {
  interface Register {
    router: ReturnType<typeof makeRouter>;
  }
}
