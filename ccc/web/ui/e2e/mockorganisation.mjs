// Tenants, users and who may do what, as the mock server knows them.

/**
 * @typedef {import('../src/api/types.ts').Me} Me
 * @typedef {import('../src/api/types.ts').System} System
 * @typedef {import('../src/api/types.ts').Person} Person
 * @typedef {import('../src/api/types.ts').Site} Site
 * @typedef {import('../src/api/types.ts').TenantAccess} TenantAccess
 * @typedef {import('../src/api/types.ts').KnownTenant} KnownTenant
 * @typedef {import('../src/api/types.ts').TenantGrant} TenantGrant
 * @typedef {import('../src/api/types.ts').BreakGlass} BreakGlass
 * @typedef {import('../src/api/types.ts').Handover} Handover
 * @typedef {import('../src/api/types.ts').RoleInfo} RoleInfo
 * @typedef {import('../src/api/types.ts').RoleGrant['role']} Role
 * @typedef {Me['verbs'][number]} Verb
 */

const hour = 3_600_000;
const day = 24 * hour;
const at = (/** @type {number} */ ms) => new Date(Date.now() + ms).toISOString();

/** Of each verb: the initials of its roles, and whether it is granted and by break-glass. @type {[Verb, string, boolean, boolean][]} */
const table = [
  ['tenant.read', 'OAMBCRLU', true, true],
  ['tenant.write', 'OA', true, false],
  ['tenant.create', 'OA', false, false],
  ['users.read', 'OAU', false, false],
  ['users.manage', 'OA', false, false],
  ['grants.read', 'OAU', false, false],
  ['grants.manage', 'O', false, false],
  ['break_glass.begin', 'OA', false, false],
  ['break_glass.end', 'OA', false, false],
  ['system.read', 'OAMBCRLU', true, true],
  ['system.write', 'OA', true, true],
  ['system.pair', 'OA', true, false],
  ['system.delete', 'O', false, false],
  ['system.handover', 'O', false, false],
  ['handover.accept', 'OA', false, false],
  ['remote.ask', 'OAR', true, true],
  ['remote.read', 'OAMRU', true, true],
  ['monitoring.read', 'OAMU', true, true],
  ['backup.read', 'OABU', true, false],
  ['licences.read', 'OALU', true, true],
  ['licences.write', 'OAL', true, false],
  ['audit.read', 'OAU', true, true],
  ['config.read', 'OA', true, true],
  ['config.write', 'OA', true, false],
  ['firmware.write', 'OA', true, false],
  ['webhooks.read', 'OAU', false, false],
  ['webhooks.manage', 'OA', false, false],
];
/** @type {Role[]} */
const roles = ['owner', 'administrator', 'monitoring', 'backup', 'calldata', 'remote', 'licences', 'auditor'];
const has = (/** @type {Role} */ role, /** @type {string} */ who) =>
  who.includes('OAMBCRLU'[roles.indexOf(role)] ?? '-');

/** What a role permits in the own tenant. @param {Role} role @returns {Verb[]} */
export const verbsOf = (role) => table.filter(([, who]) => has(role, who)).map(([verb]) => verb);

const letsIn = new Set(['tenant.create', 'users.manage', 'grants.manage', 'break_glass.begin']);

/** @type {{ items: RoleInfo[], tokens: Verb[], break_glass: Verb[] }} */
const roleTable = {
  items: roles.map((role) => ({
    role,
    verbs: verbsOf(role),
    granted:
      role === 'owner' ? [] : table.filter(([, who, granted]) => granted && has(role, who)).map(([verb]) => verb),
  })),
  tokens: table.map(([verb]) => verb).filter((verb) => !letsIn.has(verb)),
  break_glass: table.filter(([, , , glass]) => glass).map(([verb]) => verb),
};

const firstNames = ['Anna', 'Jörg', 'Émile', 'Sofía', 'Piotr', 'Zoë', 'Karl-Heinz', 'Ayşe', 'Nils', 'Marie'];
const lastNames = ['Berger', 'Müller', 'Dubois', 'Ortiz', 'Nowak', 'Lindqvist', 'von der Heide', 'Yılmaz', 'Schmidt'];

/** @param {Map<string, System>} systems @param {(code: string, errors?: object[]) => Error} refuse */
export function makeOrganisation(systems, refuse) {
  let ids = 0;
  const knobs = {
    /** The next so many questions for one person fail. */
    unread: 0,
  };
  const id = (/** @type {string} */ kind) => `${kind}-n${++ids}`;
  /** @type {Person[]} */
  const people = Array.from({ length: 70 }, (_, i) => ({
    id: `p-${i}`,
    name: `${firstNames[i % firstNames.length]} ${lastNames[i % lastNames.length]}`,
    email: `${String(i).padStart(2, '0')}.user@example.org`,
    language: /** @type {const} */ (['de', 'en', 'fr'])[i % 3] ?? 'de',
    created_at: at(-i * day),
    disabled: i % 11 === 4,
    roles: i % 9 === 7 ? [] : [{ role: roles[i % 8] ?? 'auditor' }],
    roles_version: 'v1',
  }));
  /** @type {Site[]} */
  const sites = ['Berlin', 'Braunschweig', 'Clermont-Ferrand', 'Hamburg, Lager 2'].map((name, i) => ({
    id: `site-${i}`,
    name,
    ...[
      { latitude: 52.52, longitude: 13.4 },
      { latitude: 52.27, longitude: 10.52, address: 'Vor den Fuhren 1\n38122 Braunschweig' },
    ][i],
  }));
  [...systems.values()].slice(0, 30).forEach((system, i) => {
    const site = sites[i % 3];
    if (site) systems.set(system.id, { ...system, site_id: site.id });
  });
  const paired = [...systems.values()].find((s) => s.state === 'paired');
  if (people[5] && sites[0])
    people[5].roles = [
      { role: 'remote', site_id: sites[0].id },
      ...(paired ? [/** @type {const} */ ({ role: 'monitoring', system_id: paired.id })] : []),
    ];
  /** @type {(name: string, email: string) => NonNullable<KnownTenant['invitation']>} */
  const invited = (name, email) => ({ name, email, expires_at: at(2 * day), expired: false, mail: 'sent' });
  /** @type {KnownTenant[]} */
  const below = Array.from({ length: 120 }, (_, i) => ({
    id: `t-below-${i}`,
    name: `${['Praxis Dr. Lindner', 'Kanzlei Voß & Partner', 'Boulangerie Martin', 'Autohaus Krüger'][i % 4]} ${i + 1}`,
    kind: i % 10 === 0 ? 'reseller' : 'customer',
    ...(i === 1 && { invitation: invited('Petra Voß', 'petra.voss@example.com') }),
  }));
  const all = /** @type {Verb[]} */ (['tenant.read', 'system.read', 'remote.ask', 'remote.read', 'monitoring.read']);
  /** @type {Map<string, TenantAccess>} */
  const elsewhere = new Map(
    /** @type {TenantAccess[]} */ ([
      { id: 't-7', name: 'Kanzlei Voß & Partner', via: 'grant', until: at(9 * day), roles: ['remote', 'monitoring'] },
      {
        id: 't-8',
        name: 'Stadtwerke Wolfenbüttel, Abteilung Fernmeldetechnik und Leitstelle',
        via: 'grant',
        roles: ['monitoring'],
      },
      {
        id: 't-9',
        name: 'Praxis Dr. Lindner',
        via: 'break_glass',
        until: at(2 * hour),
        reason: 'Ticket 4711: nach dem Umzug klingelt kein Telefon mehr, der Inhaber ist im Urlaub',
        break_glass_id: 'bg-0',
      },
    ]).map((one) => [one.id, { ...one, kind: 'customer', legal_name: one.name, verbs: all, some_verbs: [] }]),
  );
  /** @type {TenantGrant[]} */
  const grants = [
    {
      id: 'g-1',
      tenant_id: 't-up',
      name: 'Harz Systemhaus',
      roles: ['remote', 'monitoring'],
      over: false,
      until: at(20 * day),
      created_at: at(-3 * day),
      by: { id: 'u-1', name: 'Anna Berger' },
    },
    {
      id: 'g-2',
      tenant_id: '0199c1f0-77aa-7000-8000-00000000abcd',
      roles: ['auditor'],
      over: true,
      until: at(-day),
      created_at: at(-90 * day),
      by: { id: 'u-9', name: '' },
    },
  ];
  /** @type {BreakGlass[]} */
  const glass = [
    {
      id: 'bg-1',
      tenant_id: 't-1',
      user: { id: 'u-x', name: 'Ole Petersen' },
      reason: 'Ticket 4699: Anlage meldet sich nicht',
      created_at: at(-hour),
      expires_at: at(hour),
      active: true,
    },
    {
      id: 'bg-2',
      tenant_id: 't-1',
      user: { id: 'u-y', name: 'Kim Sander' },
      reason: 'Ticket 4501',
      created_at: at(-40 * day),
      expires_at: at(-40 * day + hour),
      ended_at: at(-40 * day + hour / 2),
      active: false,
    },
    {
      id: 'bg-0',
      tenant_id: 't-9',
      tenant: 'Praxis Dr. Lindner',
      user: { id: 'u-1', name: 'Anna Berger' },
      reason: 'Ticket 4711',
      created_at: at(-hour),
      expires_at: at(2 * hour),
      active: true,
    },
  ];
  /** @type {Handover[]} */
  const handovers = [
    {
      id: 'h-1',
      direction: 'in',
      tenant_id: 't-up',
      tenant: 'Harz Systemhaus GmbH',
      serial: '0000012345',
      state: 'offered',
      created_at: at(-day),
      expires_at: at(6 * day),
    },
    ...(paired
      ? [
          /** @type {Handover} */ ({
            id: 'h-2',
            direction: 'out',
            tenant_id: 't-below-3',
            tenant: 'Autohaus Krüger 4',
            system_id: paired.id,
            name: paired.name,
            serial: paired.serial,
            state: 'offered',
            created_at: at(-2 * day),
            expires_at: at(5 * day),
          }),
        ]
      : []),
    {
      id: 'h-3',
      direction: 'out',
      tenant_id: '0199c1f0-77aa-7000-8000-00000000abcd',
      name: 'Lager',
      serial: '0000099999',
      state: 'declined',
      created_at: at(-20 * day),
      expires_at: at(-13 * day),
      decided_at: at(-19 * day),
    },
  ];

  /** @template T @param {T[]} list @param {(item: T) => string} text @param {URLSearchParams} query */
  const page = (list, text, query) => {
    const fold = (/** @type {string} */ s) =>
      s
        .normalize('NFKD')
        .replace(/\p{Mn}/gu, '')
        .toLowerCase();
    const words = fold(query.get('q') ?? '').split(/\s+/);
    const found = list.filter((item) => words.every((word) => fold(text(item)).includes(word)));
    const from = Number(query.get('cursor') ?? 0);
    const limit = Number(query.get('limit') ?? 50);
    const next = from + limit < found.length ? { next: String(from + limit) } : {};
    return { items: found.slice(from, from + limit), total: found.length, ...next };
  };
  /** @template {{ id: string }} T @param {T[]} list @param {string} which */
  const find = (list, which) => {
    const found = list.find((item) => item.id === which);
    if (!found) throw refuse('not_found');
    return found;
  };

  /** @typedef {{ id: string, body: any, query: URLSearchParams, user: Me['user'], req: import('node:http').IncomingMessage }} Call */
  /** @type {[string, RegExp, (c: Call) => unknown][]} */
  const routes = [
    ['GET', /^\/invitations$/, () => ({ items: [] })],
    ['GET', /^\/roles$/, () => roleTable],
    [
      'GET',
      /^\/users$/,
      ({ query }) => {
        if (knobs.unread > 0 && query.get('q')?.includes('@')) {
          knobs.unread--;
          throw refuse('unavailable');
        }
        return page(people, (p) => `${p.name} ${p.email}`, query);
      },
    ],
    [
      'POST',
      /^\/users$/,
      ({ body }) => {
        if (people.some((p) => p.email === body.email)) throw refuse('conflict');
        const { password: _, ...rest } = body;
        const person = { id: id('p'), created_at: at(0), disabled: false, roles_version: 'v1', ...rest };
        people.unshift(person);
        return person;
      },
    ],
    [
      'PUT',
      /^\/users\/([^/]+)\/roles$/,
      ({ id: who, body, req }) => {
        const person = find(people, who);
        const known = req.headers['if-match'];
        if (known && known !== `"${person.roles_version}"`) throw refuse('version');
        const owners = people.filter((p) => p.id !== who && !p.disabled && p.roles.some((r) => r.role === 'owner'));
        if (owners.length === 0 && !body.roles.some((/** @type {{ role: string }} */ r) => r.role === 'owner'))
          throw refuse('last_owner');
        return Object.assign(person, { roles: body.roles, roles_version: id('v') });
      },
    ],
    ['PUT', /^\/users\/([^/]+)\/disabled$/, ({ id: who, body }) => void Object.assign(find(people, who), body)],
    ['GET', /^\/sites$/, () => ({ items: [...sites].sort((a, b) => a.name.localeCompare(b.name)) })],
    [
      'POST',
      /^\/sites$/,
      ({ body }) => {
        if (sites.some((s) => s.name === body.name)) throw refuse('conflict');
        const site = { id: id('site'), name: body.name };
        sites.push(site);
        return site;
      },
    ],
    ['PUT', /^\/sites\/([^/]+)$/, ({ id: which, body }) => Object.assign(find(sites, which), { name: body.name })],
    [
      'PUT',
      /^\/sites\/([^/]+)\/place$/,
      ({ id: which, body }) => {
        const site = find(sites, which);
        const { latitude: _n, longitude: _e, ...rest } = site;
        sites[sites.indexOf(site)] = { ...rest, ...body };
        return sites.find((s) => s.id === which);
      },
    ],
    ['DELETE', /^\/sites\/([^/]+)$/, ({ id: which }) => void sites.splice(sites.indexOf(find(sites, which)), 1)],
    ['GET', /^\/tenants\/below$/, ({ query }) => page(below, (b) => b.name, query)],
    [
      'GET',
      /^\/tenants\/above$/,
      () => ({ items: [{ id: 't-up', name: 'Harz Systemhaus', kind: 'reseller' }], total: 1 }),
    ],
    [
      'POST',
      /^\/invited-tenants$/,
      ({ body }) => {
        const made = {
          id: id('t'),
          name: body.name,
          kind: body.kind,
          invitation: invited(body.owner.name, body.owner.email),
        };
        below.unshift(made);
        const tenant = { id: made.id, name: made.name, kind: made.kind, legal_name: body.legal_name || body.name };
        return { tenant, invitation: { ...made.invitation, id: id('i') } };
      },
    ],
    [
      'POST',
      /^\/invited-tenants\/([^/]+)\/mail$/,
      ({ id: which }) => {
        const found = below.find((b) => b.id === which)?.invitation;
        if (!found) throw refuse('not_found');
        return { ...found, id: id('i') };
      },
    ],
    [
      'POST',
      /^\/tenants$/,
      ({ body }) => {
        const made = { id: id('t'), name: body.name, kind: body.kind };
        below.unshift(made);
        return { ...made, legal_name: body.legal_name || body.name };
      },
    ],
    ['GET', /^\/grants$/, () => ({ items: grants })],
    [
      'POST',
      /^\/grants$/,
      ({ body, user }) => {
        const grant = { id: id('g'), ...body, over: false, created_at: at(0), by: { id: user.id, name: user.name } };
        if (body.tenant_id === 't-up') grant.name = 'Harz Systemhaus';
        grants.unshift(grant);
        return grant;
      },
    ],
    ['DELETE', /^\/grants\/([^/]+)$/, ({ id: which }) => void grants.splice(grants.indexOf(find(grants, which)), 1)],
    ['GET', /^\/break-glass$/, ({ query }) => page(glass, (g) => g.reason, query)],
    [
      'POST',
      /^\/break-glass$/,
      ({ body, user }) => {
        const name = below.find((b) => b.id === body.tenant_id)?.name;
        if (!name) throw refuse('not_found');
        const until = at(body.minutes * 60_000);
        const made = {
          id: id('bg'),
          tenant_id: body.tenant_id,
          tenant: name,
          user: { id: user.id, name: user.name },
          reason: body.reason,
          created_at: at(0),
          expires_at: until,
          active: true,
        };
        glass.unshift(made);
        elsewhere.set(body.tenant_id, {
          id: body.tenant_id,
          name,
          legal_name: name,
          kind: 'customer',
          via: 'break_glass',
          until,
          reason: body.reason,
          break_glass_id: made.id,
          verbs: all,
          some_verbs: [],
        });
        return made;
      },
    ],
    [
      'DELETE',
      /^\/break-glass\/([^/]+)$/,
      ({ id: which }) => {
        const one = find(glass, which);
        Object.assign(one, { active: false, ended_at: at(0) });
        elsewhere.delete(one.tenant_id);
      },
    ],
    ['GET', /^\/handovers$/, ({ query }) => page(handovers, (h) => h.serial, query)],
    [
      'POST',
      /^\/systems\/([^/]+)\/handover$/,
      ({ id: which, body }) => {
        const system = systems.get(which);
        if (!system) throw refuse('not_found');
        if (handovers.some((h) => h.system_id === which && h.state === 'offered')) throw refuse('conflict');
        const name = below.find((b) => b.id === body.tenant_id)?.name;
        /** @type {Handover} */
        const made = {
          id: id('h'),
          direction: 'out',
          tenant_id: body.tenant_id,
          ...(name && { tenant: name }),
          system_id: which,
          name: system.name,
          serial: system.serial,
          state: 'offered',
          created_at: at(0),
          expires_at: at(7 * day),
        };
        handovers.unshift(made);
        return made;
      },
    ],
    [
      'DELETE',
      /^\/handovers\/([^/]+)$/,
      ({ id: which }) => {
        const one = find(handovers, which);
        if (one.state !== 'offered') throw refuse('state');
        Object.assign(one, { state: one.direction === 'out' ? 'withdrawn' : 'declined', decided_at: at(0) });
      },
    ],
  ];

  return {
    knobs,
    people,
    sites,
    grants,
    glass,
    handovers,
    routes,
    /** Those that somebody may see besides his own. */
    elsewhere,
    /** Takes a hand-over to its end. @param {string} which */
    accept(which) {
      const one = find(handovers, which);
      Object.assign(one, { state: 'done', decided_at: at(0) });
      return one;
    },
  };
}
