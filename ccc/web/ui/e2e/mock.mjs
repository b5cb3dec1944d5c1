// A server that answers as the control centre does, from memory, and serves dist under
// the policy of ccc/web. It has just what the browser check needs.
import { readFile, stat } from 'node:fs/promises';
import { createServer } from 'node:http';
import { extname, normalize } from 'node:path';
import { groups as madeGroups, makeFleet, randomFrom } from './fleet.mjs';
import { makeAccount } from './mockaccount.mjs';
import { makeAudit } from './mockaudit.mjs';
import { makeFirmware } from './mockfirmware.mjs';
import { giveReasons, historyRoutes } from './mockhistory.mjs';
import { onboardingRoutes } from './mockonboarding.mjs';
import { makeOrganisation, verbsOf } from './mockorganisation.mjs';
import { makeRecords, remoteRoutes } from './mockremote.mjs';
import { makeRollouts } from './mockrollouts.mjs';
import { makeWebhooks } from './mockwebhooks.mjs';

/**
 * @typedef {import('../src/api/types.ts').System} System
 * @typedef {import('../src/api/types.ts').Offer} Offer
 * @typedef {import('../src/api/types.ts').LiveEvent} LiveEvent
 * @typedef {import('../src/api/types.ts').Me} Me
 * @typedef {import('../src/api/types.ts').SystemEvent} SystemEvent
 * @typedef {import('node:http').IncomingMessage} Request
 * @typedef {import('node:http').ServerResponse} Response
 */

// DIST: a file URL of other built pages, ending in a slash.
const dist = new URL(process.env.DIST ?? '../dist/', import.meta.url);
const policy = (await readFile(new URL('../../policy.txt', import.meta.url), 'utf8')).trim().split('\n').join('; ');
const types = /** @type {Record<string, string>} */ ({
  '.js': 'text/javascript',
  '.css': 'text/css',
  '.svg': 'image/svg+xml',
  '.html': 'text/html',
});

export const password = 'correct horse battery';

/** @type {Record<string, Me['user']>} */
const everybody = {
  'anna@example.org': { id: 'u-1', name: 'Anna Berger', email: 'anna@example.org', roles: ['owner'], language: 'de' },
  'emma@example.org': { id: 'u-2', name: 'Emma Clark', email: 'emma@example.org', roles: ['owner'], language: 'en' },
  'luc@example.org': {
    id: 'u-3',
    name: 'Luc Moreau',
    email: 'luc@example.org',
    roles: ['administrator'],
    language: 'fr',
  },
  'vera@example.org': {
    id: 'u-4',
    name: 'Vera Holm',
    email: 'vera@example.org',
    roles: ['monitoring'],
    language: 'en',
  },
};
const tenant = {
  id: 't-1',
  kind: /** @type {Me['tenant']['kind']} */ ('operator'),
  name: 'Nordlicht Telefonie',
  legal_name: 'Nordlicht Telefonie GmbH, Braunschweig',
};

/** What the server says about who has signed in. */
function meOf(
  /** @type {Me['user']} */ user,
  /** @type {Me['tenant']['kind']} */ kind,
  /** @type {import('../src/api/types.ts').TenantAccess | undefined} */ there = undefined,
) {
  return {
    user,
    tenant: there
      ? { id: there.id, name: there.name, legal_name: there.legal_name, kind: there.kind }
      : { ...tenant, kind },
    verbs: there?.verbs ?? [...new Set(user.roles.flatMap(verbsOf))],
    some_verbs: [],
    proof: { by: 'password', at: new Date().toISOString(), fresh: true },
  };
}

const statusOf = /** @type {Record<string, number>} */ ({
  unauthenticated: 401,
  bad_credentials: 401,
  forbidden: 403,
  not_creator: 403,
  wrong_password: 403,
  not_found: 404,
  firmware_in_use: 409,
  firmware_signature: 422,
  conflict: 409,
  remote_off: 409,
  offline: 409,
  last_owner: 409,
  second_factor_needed: 403,
  serial_taken_by_you: 409,
  state: 409,
  version: 412,
  invalid: 422,
  login_limited: 429,
  unavailable: 503,
});

class Refusal extends Error {
  /** @param {string} code @param {object[]} [errors] @param {number} [retryAfter] */
  constructor(code, errors, retryAfter) {
    super(code);
    this.code = code;
    this.errors = errors;
    this.retryAfter = retryAfter;
  }
}

/** @param {{ systems: number }} options */
export async function startMock({ systems: size }) {
  const random = randomFrom(7);
  /** @type {Map<string, System>} */
  const systems = new Map(makeFleet(size, Date.now()).map((s) => [s.id, s]));
  giveReasons([...systems.values()]);
  /** @type {Map<string, Offer & { creator: string }>} */
  const offers = new Map();
  const groups = size > 0 ? [...madeGroups] : [];
  const records = makeRecords([...systems.values()]);
  const organisation = makeOrganisation(systems, (code, errors) => new Refusal(code, errors));
  const audit = makeAudit(size > 0 ? 120 : 0, (code) => new Refusal(code));
  const webhooks = makeWebhooks(size > 0, (code, errors) => new Refusal(code, errors));
  const account = makeAccount((code, errors) => new Refusal(code, errors));
  /** @type {Map<string, string>} */
  const sessions = new Map();
  /** @type {Set<Response>} */
  const streams = new Set();
  /** @type {Map<string, SystemEvent[]>} */
  const histories = new Map();
  const knobs = {
    down: false,
    refuseStreams: false,
    /** Answers wait for it. */
    gate: Promise.resolve(),
    failNext: '',
    failures: 0,
    /** Requests for this path fail. */
    refuse: '',
    churn: 0,
    /** Of the tenant. @type {Me['tenant']['kind']} */
    kind: 'operator',
  };
  /** What the requests of who is signed in said about the tenant. @type {string[]} */
  const tenants = [];
  const users = structuredClone(everybody); // they change their language
  let ids = 0;

  /** @param {LiveEvent} message */
  const emit = (message) => {
    const text = `event: ${message.event}\ndata: ${JSON.stringify(message.data)}\n\n`;
    for (const stream of streams) stream.write(text);
  };
  const summary = () => ({ total: systems.size, online: [...systems.values()].filter((s) => s.online).length });
  const now = () => new Date().toISOString();

  /** @param {string} id @param {string} kind @param {Record<string, string>} [detail] @param {Me['user']} [actor] */
  const record = (id, kind, detail = {}, actor) => {
    const list = histories.get(id) ?? [];
    list.unshift({
      id: `e-${++ids}`,
      at: now(),
      kind,
      detail,
      ...(actor && { actor: { id: actor.id, name: actor.name } }),
    });
    histories.set(id, list);
  };

  /** @param {string} id @param {Partial<System>} change */
  const change = (id, change) => {
    const before = systems.get(id);
    if (!before) throw new Refusal('not_found');
    const system = { ...before, ...change, version: before.version + 1 };
    systems.set(id, system);
    emit({ event: 'system', data: system });
    return system;
  };

  /** @param {string} id @param {System['state']} state @param {Partial<System>} [more] */
  const setState = (id, state, more = {}) => change(id, { state, state_since: now(), ...more });

  /** @param {System} system @param {Me['user']} user @param {number} seconds */
  const makeOffer = (system, user, seconds = 86_400) => {
    const alphabet = '0123456789ABCDEFGHJKMNPQRSTVWXYZ';
    const token = Array.from({ length: 12 }, () => alphabet[Math.floor(random() * 32)])
      .join('')
      .replace(/(.{4})(?=.)/g, '$1-');
    const id = `o-${++ids}`;
    /** @type {Offer & { creator: string }} */
    const offer = {
      id,
      token,
      qr: `CCC1:${id}:${token}`,
      code: `${100 + Math.floor(random() * 900)} ${100 + Math.floor(random() * 900)}`,
      created_at: now(),
      expires_at: new Date(Date.now() + seconds * 1000).toISOString(),
      state: 'open',
      creator: user.id,
    };
    offers.set(system.id, offer);
    record(system.id, 'offered', {}, user);
    return offer;
  };
  /** @param {Offer & { creator: string }} offer */
  const shown = ({ creator: _, ...offer }) => offer;

  /** @param {{ serial: string, name: string, note?: string, tags?: string[], groups?: string[], replaces?: string }} body @param {Me['user']} user */
  const create = (body, user) => {
    if (!/^[0-9]{10}$/.test(body.serial))
      throw new Refusal('invalid', [{ location: 'body.serial', code: 'pattern', message: 'ten digits' }]);
    if ([...systems.values()].some((s) => s.serial === body.serial)) throw new Refusal('serial_taken_by_you');
    /** @type {System} */
    const system = {
      id: `s-n${++ids}`,
      serial: body.serial,
      name: body.name,
      note: body.note ?? '',
      state: 'offered',
      state_since: now(),
      version: 1,
      created_at: now(),
      epoch: '0',
      online: false,
      tags: body.tags ?? [],
      groups: groups.filter((g) => body.groups?.includes(g.id)),
      ...(body.replaces && { replaces: body.replaces }),
    };
    systems.set(system.id, system);
    emit({ event: 'system', data: system });
    emit({ event: 'summary', data: summary() });
    return { system, offer: shown(makeOffer(system, user)) };
  };

  const firmware = makeFirmware(
    size > 0,
    (id, what) => change(id, what),
    (code, errors) => new Refusal(code, errors),
  );
  const rollouts = makeRollouts(
    systems,
    (id) => find(id),
    (message) => emit(message),
    (code, errors) => new Refusal(code, errors),
    firmware.images,
  );

  /** @type {[string, RegExp, (c: { req: Request, res: Response, user: Me['user'], id: string, path: string, text: string, body: any, query: URLSearchParams }) => unknown][]} */
  const routes = [
    ['GET', /^\/session$/, ({ user, req }) => meOf(user, knobs.kind, there(req, user))],
    [
      'GET',
      /^\/tenants$/,
      ({ user }) => ({
        items: [
          { ...tenant, kind: knobs.kind, via: 'home', verbs: meOf(user, knobs.kind).verbs, some_verbs: [] },
        ].concat(/** @type {any} */ (user.id === 'u-1' ? [...organisation.elsewhere.values()] : [])),
      }),
    ],
    [
      'POST',
      /^\/handovers\/([^/]+)\/acceptance$/,
      ({ id, user }) => create({ serial: organisation.accept(id).serial, name: organisation.accept(id).serial }, user),
    ],
    ...organisation.routes,
    ...rollouts.routes,
    ...firmware.routes,
    ...audit.routes,
    ...webhooks.routes,
    ...account.routes,
    ...onboardingRoutes(systems, create, offers, shown),
    [
      'DELETE',
      /^\/session$/,
      ({ req, res }) => {
        sessions.delete(cookie(req));
        res.setHeader('Set-Cookie', 'ccc=; Path=/; Max-Age=0');
      },
    ],
    ['PUT', /^\/session\/language$/, ({ user, body }) => void Object.assign(user, { language: body.language })],
    [
      'PUT',
      /^\/session\/password$/,
      ({ body }) => {
        if (body.current !== password) throw new Refusal('wrong_password');
        if (/^(.)\1+$/.test(body.new))
          throw new Refusal('invalid', [{ location: 'body.new', code: 'weak', message: 'weak' }]);
      },
    ],
    [
      'GET',
      /^\/systems$/,
      ({ query }) => {
        const limit = Number(query.get('limit') ?? 50);
        const from = Number(query.get('cursor') ?? 0);
        const all = [...systems.values()];
        const next = from + limit < all.length ? { next: String(from + limit) } : {};
        return { items: all.slice(from, from + limit), total: all.length, ...next };
      },
    ],
    ['POST', /^\/systems$/, ({ body, user }) => create(body, user)],
    ['GET', /^\/systems\/([^/]+)$/, ({ id }) => find(id)],
    [
      'PATCH',
      /^\/systems\/([^/]+)$/,
      ({ id, body, req, user }) => {
        if (req.headers['if-match'] !== `"${find(id).version}"`) throw new Refusal('version');
        record(id, 'changed', {}, user);
        return change(id, {
          ...body,
          ...(body.groups && { groups: groups.filter((g) => body.groups.includes(g.id)) }),
        });
      },
    ],
    [
      'DELETE',
      /^\/systems\/([^/]+)$/,
      ({ id }) => {
        find(id);
        systems.delete(id);
        emit({ event: 'removed', data: { id } });
        emit({ event: 'summary', data: summary() });
      },
    ],
    [
      'GET',
      /^\/systems\/([^/]+)\/offer$/,
      ({ id, user }) => {
        const offer = offers.get(id);
        if (!offer) throw new Refusal('not_found');
        if (offer.creator !== user.id) throw new Refusal('not_creator');
        return shown(offer);
      },
    ],
    [
      'POST',
      /^\/systems\/([^/]+)\/offer$/,
      ({ id, user }) => {
        const offer = makeOffer(find(id), user);
        setState(id, 'offered');
        return shown(offer);
      },
    ],
    [
      'POST',
      /^\/systems\/([^/]+)\/replacement$/,
      ({ id, user, body }) => {
        const old = find(id);
        return create({ serial: body.serial, name: old.name, replaces: id }, user);
      },
    ],
    ...historyRoutes(systems, (id) => find(id)),
    ['GET', /^\/systems\/([^/]+)\/events$/, ({ id }) => ({ items: histories.get(id) ?? invented(find(id)) })],
    ...remoteRoutes(
      records,
      (id) => find(id),
      (message) => emit(message),
      (code) => new Refusal(code),
    ),
    ['GET', /^\/groups$/, () => ({ items: groups })],
    [
      'POST',
      /^\/groups$/,
      ({ body }) => {
        if (groups.some((g) => g.name === body.name)) throw new Refusal('conflict');
        const group = { id: `g-n${++ids}`, name: body.name };
        groups.push(group);
        return group;
      },
    ],
    [
      'DELETE',
      /^\/groups\/([^/]+)$/,
      ({ id }) =>
        void groups.splice(
          groups.findIndex((g) => g.id === id),
          1,
        ),
    ],
  ];

  /** @param {string} id */
  const find = (id) => {
    const system = systems.get(id);
    if (!system) throw new Refusal('not_found');
    return system;
  };

  /** @param {System} system @returns {SystemEvent[]} */
  const invented = (system) => {
    const actor = { id: 'u-1', name: 'Anna Berger' };
    const start = Date.parse(system.created_at);
    const at = (/** @type {number} */ minutes) => new Date(start + minutes * 60_000).toISOString();
    /** @type {SystemEvent[]} */
    const list = [{ id: 'e-a', at: at(0), kind: 'offered', actor, detail: {} }];
    if (system.state !== 'offered') list.push({ id: 'e-b', at: at(0.1), kind: 'received', detail: {} });
    if (system.state === 'paired' || system.state === 'left') {
      list.push(
        { id: 'e-c', at: at(4), kind: 'completed', detail: {} },
        { id: 'e-d', at: at(4.1), kind: 'paired', detail: {} },
      );
      list.push({ id: 'e-e', at: at(90), kind: 'changed', actor, detail: {} });
    }
    if (system.state === 'left')
      list.push({
        id: 'e-f',
        at: system.state_since,
        kind: 'dissolved',
        detail: { reason: 'switched-off', by: 'pbx' },
      });
    if (system.state === 'expired') list.push({ id: 'e-g', at: system.state_since, kind: 'expired', detail: {} });
    if (system.state === 'declined')
      list.push({ id: 'e-h', at: system.state_since, kind: 'declined', detail: { reason: 'rejected' } });
    return list.reverse();
  };

  /** The other tenant that a request is about; only Anna sees any. @param {Request} req @param {Me['user']} user */
  const there = (req, user) => {
    const wanted = req.headers['auer-tenant'];
    if (typeof wanted !== 'string' || wanted === tenant.id) return undefined;
    const found = organisation.elsewhere.get(wanted);
    if (!found || user.id !== 'u-1') throw new Refusal('not_found');
    return found;
  };

  /** @param {Request} req */
  const cookie = (req) => /(?:^|; )ccc=([^;]*)/.exec(req.headers.cookie ?? '')?.[1] ?? '';

  /** @param {Request} req @param {Response} res @param {string} path @param {URLSearchParams} query */
  const answer = async (req, res, path, query) => {
    let text = '';
    for await (const part of req) text += part;
    const body = text && req.headers['content-type']?.includes('json') ? JSON.parse(text) : undefined;
    await knobs.gate;
    if (knobs.failures > 0 && path !== '/events') {
      knobs.failures--;
      throw new Refusal(knobs.failNext);
    }
    if (knobs.refuse === path) throw new Refusal('unavailable');
    if (req.method === 'GET' && path === '/meta') {
      const fontevo = req.headers.host?.startsWith('fontevo');
      const brand = fontevo ? { id: 'fontevo', name: 'FONtevo' } : { id: 'auerswald', name: 'Auerswald' };
      return {
        brand: { ...brand, legal: 'Auerswald GmbH & Co. KG, Vor den Grashöfen 1, 38162 Cremlingen' },
        version: 'v0.5.0',
        languages: ['de', 'en', 'fr'],
        passkeys: false,
        mail: true,
        providers: [],
        now: now(),
      };
    }
    if (req.method === 'POST' && path === '/session') {
      if (body.password === 'too often') throw new Refusal('login_limited', undefined, 300);
      const found = users[body.email];
      if (!found || body.password !== password) throw new Refusal('bad_credentials');
      const token = `t${++ids}`;
      sessions.set(token, body.email);
      res.setHeader('Set-Cookie', `ccc=${token}; Path=/; HttpOnly; SameSite=Lax`);
      return meOf(found, knobs.kind);
    }
    const user = users[sessions.get(cookie(req)) ?? ''];
    if (!user) throw new Refusal('unauthenticated');
    tenants.push(String(req.headers['auer-tenant'] ?? ''));
    if (path !== '/tenants') there(req, user);
    if (req.method === 'GET' && path === '/events') {
      if (knobs.refuseStreams) throw new Refusal('unavailable');
      res.writeHead(200, {
        'Content-Type': 'text/event-stream',
        'Cache-Control': 'no-store',
        'X-Accel-Buffering': 'no',
      });
      res.write(`event: summary\ndata: ${JSON.stringify(summary())}\n\n`);
      streams.add(res);
      res.on('close', () => streams.delete(res));
      return undefined;
    }
    for (const [method, pattern, f] of routes) {
      const match = req.method === method && pattern.exec(path);
      if (match) return f({ req, res, user, id: match[1] ?? '', path, text, body, query });
    }
    throw new Refusal('not_found');
  };

  /** @param {Request} req @param {Response} res @param {string} path */
  const serveFile = async (req, res, path) => {
    const file = new URL(`.${normalize(path)}`, dist);
    const isFile =
      path !== '/' &&
      (await stat(file).then(
        (s) => s.isFile(),
        () => false,
      ));
    if (!isFile && !req.headers.accept?.includes('text/html')) {
      res.writeHead(404).end();
      return;
    }
    const name = isFile ? path : '/index.html';
    let content = await readFile(new URL(`.${name}`, dist));
    res.setHeader('X-Content-Type-Options', 'nosniff');
    res.setHeader('Referrer-Policy', 'no-referrer');
    res.setHeader('Content-Type', types[extname(name)] ?? 'application/octet-stream');
    if (name === '/index.html') {
      const nonce = Array.from(
        { length: 26 },
        () => 'ABCDEFGHIJKLMNOPQRSTUVWXYZ234567'[Math.floor(Math.random() * 32)],
      ).join('');
      content = Buffer.from(content.toString().replaceAll('__CSP_NONCE__', nonce));
      res.setHeader(
        'Content-Security-Policy',
        policy.replace('{nonce}', nonce).replace('{gateway}', 'https://*.ara.localhost:1'),
      );
    }
    res.end(content);
  };

  const server = createServer((req, res) => {
    const url = new URL(req.url ?? '/', 'http://mock');
    if (knobs.down) {
      res.destroy();
      return;
    }
    if (!url.pathname.startsWith('/api/v1')) {
      void serveFile(req, res, url.pathname);
      return;
    }
    const path = url.pathname.slice('/api/v1'.length);
    answer(req, res, path, url.searchParams).then(
      (result) => {
        if (res.headersSent) return;
        res.setHeader('Cache-Control', 'no-store');
        if (result === undefined) res.writeHead(204).end();
        else {
          const made = req.method === 'POST' && path !== '/session';
          res.writeHead(made ? 201 : 200, { 'Content-Type': 'application/json' }).end(JSON.stringify(result));
        }
      },
      (thrown) => {
        const refusal = thrown instanceof Refusal ? thrown : new Refusal('internal');
        if (!(thrown instanceof Refusal)) console.error(thrown);
        const status = statusOf[refusal.code] ?? 500;
        if (refusal.retryAfter) res.setHeader('Retry-After', String(refusal.retryAfter));
        res.writeHead(status, { 'Content-Type': 'application/problem+json' });
        res.end(
          JSON.stringify({
            title: refusal.code,
            status,
            code: refusal.code,
            ...(refusal.errors && { errors: refusal.errors }),
          }),
        );
      },
    );
  });
  await new Promise((resolve) => server.listen(0, '127.0.0.1', () => resolve(undefined)));
  const address = server.address();
  const port = typeof address === 'object' && address ? address.port : 0;

  // Systems come and go, as many in a second as the knob says.
  const churn = setInterval(() => {
    const list = [...systems.values()];
    for (let i = 0; i < knobs.churn / 10 && list.length > 0; i++) {
      const system = list[Math.floor(Math.random() * list.length)];
      if (system?.state !== 'paired') continue;
      const since = now();
      const { online_since: _a, last_seen_at: _b, transport: _c, rtt_ms: _d, ...rest } = system;
      /** @type {System} */
      const next = system.online
        ? { ...rest, online: false, last_seen_at: since }
        : { ...rest, online: true, online_since: since, transport: 'quic', rtt_ms: 12.5 };
      systems.set(system.id, next);
      emit({
        event: 'presence',
        data: { id: next.id, online: next.online, since, ...(next.online && { transport: 'quic', rtt_ms: 12.5 }) },
      });
    }
  }, 100);
  const heartbeat = setInterval(() => {
    for (const stream of streams) stream.write(': heartbeat\n\n');
  }, 15_000);

  return {
    port,
    origin: `http://localhost:${port}`,
    systems,
    records,
    organisation,
    rollouts,
    firmware,
    audit,
    webhooks,
    account,
    tenants,
    offers,
    knobs,
    emit,
    change,
    setState,
    record,
    makeOffer,
    user: (/** @type {string} */ email) => /** @type {Me['user']} */ (users[email]),
    endSessions: () => sessions.clear(),
    dropStreams() {
      for (const stream of streams) stream.destroy();
    },
    async close() {
      clearInterval(churn);
      clearInterval(heartbeat);
      this.dropStreams();
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}
