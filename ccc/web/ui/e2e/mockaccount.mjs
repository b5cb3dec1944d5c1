// The account of who is signed in, and what newcomers need, as the mock server knows them.

/** @typedef {import('../src/api/types.ts').APIToken} APIToken */
/** @typedef {import('../src/api/types.ts').SavedFilter} SavedFilter */

const hour = 3_600_000;
const at = (/** @type {number} */ ms) => new Date(Date.now() + ms).toISOString();

/** @param {(code: string, errors?: object[]) => Error} refuse */
export function makeAccount(refuse) {
  let ids = 0;
  /** @type {APIToken[]} */
  const tokens = [
    {
      id: 'tok-1',
      name: 'Backup',
      tenant_id: 't-1',
      verbs: ['system.read', 'backup.read'],
      created_at: at(-500 * hour),
      expires_at: at(900 * hour),
      last_used: '2026-11-25',
    },
  ];
  /** @type {SavedFilter[]} */
  const filters = [];
  const session = { begun_at: at(-hour), last_seen_at: at(0), expires_at: at(9 * hour) };
  let sessions = [
    { id: 'se-1', ...session, proof: 'second', current: true },
    { id: 'se-2', ...session, proof: 'password', current: false },
  ];
  let providers = [{ id: 'pl-1', provider: 'harz', name: 'Harz ID', made: false, created_at: at(-300 * hour) }];
  /** @typedef {{ id: string, body: any }} Call */
  /** @type {[string, RegExp, (c: Call) => unknown][]} */
  const routes = [
    [
      'GET',
      /^\/account\/factors$/,
      () => ({
        totp: true,
        passkeys: 1,
        recovery_codes: 8,
        required: true,
        passkeys_here: false,
        proof: { by: 'second', at: at(0), fresh: true },
      }),
    ],
    [
      'GET',
      /^\/account\/passkeys$/,
      () => ({ items: [{ id: 'pk-1', name: 'YubiKey', created_at: at(-900 * hour), last_used_at: at(-2 * hour) }] }),
    ],
    [
      'GET',
      /^\/account\/providers$/,
      () => ({ items: providers, available: providers.length > 0 ? [] : [{ id: 'harz', name: 'Harz ID' }] }),
    ],
    [
      'DELETE',
      /^\/account\/providers\/([^/]+)$/,
      () => {
        providers = [];
      },
    ],
    ['GET', /^\/account\/sessions$/, () => ({ items: sessions })],
    [
      'DELETE',
      /^\/account\/sessions\/([^/]+)$/,
      ({ id }) => {
        sessions = sessions.filter((s) => s.id !== id);
      },
    ],
    [
      'DELETE',
      /^\/account\/sessions$/,
      () => {
        sessions = sessions.filter((s) => s.current);
      },
    ],
    [
      'GET',
      /^\/account\/providers$/,
      () => ({
        items: [{ id: 'pl-1', provider: 'work', name: 'Nordlicht SSO', made: false, created_at: at(-300 * hour) }],
        available: [{ id: 'other', name: 'Keycloak' }],
      }),
    ],
    ['GET', /^\/account\/tokens$/, () => ({ items: tokens })],
    [
      'POST',
      /^\/account\/tokens$/,
      ({ body }) => {
        /** @type {APIToken} */
        const info = {
          id: `tok-n${++ids}`,
          name: body.name,
          tenant_id: body.tenant_id ?? 't-1',
          verbs: body.verbs,
          created_at: at(0),
          expires_at: at(body.days * 24 * hour),
        };
        tokens.unshift(info);
        return { info, token: 'ccc_pat_EXAMPLEEXAMPLEEXAMPLEEXAMP00000000' };
      },
    ],
    [
      'DELETE',
      /^\/account\/tokens\/([^/]+)$/,
      ({ id }) => {
        const found = tokens.findIndex((token) => token.id === id);
        if (found < 0) throw refuse('not_found');
        tokens.splice(found, 1);
      },
    ],
    ['GET', /^\/filters$/, () => ({ items: filters })],
    [
      'POST',
      /^\/filters$/,
      ({ body }) => {
        const made = { id: `f-n${++ids}`, default: false, shared: false, ...body };
        filters.push(made);
        return made;
      },
    ],
    [
      'DELETE',
      /^\/filters\/([^/]+)$/,
      ({ id }) =>
        void filters.splice(
          filters.findIndex((f) => f.id === id),
          1,
        ),
    ],
  ];
  return { tokens, filters, routes };
}
