// Settings, templates and rollouts, as the mock server knows them.

/**
 * @typedef {import('../src/api/types.ts').Me} Me
 * @typedef {import('../src/api/types.ts').System} System
 * @typedef {import('../src/rollout/queries.ts').Rollout} Rollout
 * @typedef {import('../src/rollout/queries.ts').RolloutDevice} RolloutDevice
 * @typedef {import('../src/rollout/queries.ts').Template} Template
 * @typedef {import('../src/rollout/queries.ts').SettingKey} SettingKey
 */

const hour = 3_600_000;
const at = (/** @type {number} */ ms) => new Date(Date.now() + ms).toISOString();

/** What a PBX says about its settings. @type {SettingKey[]} */
const schema = [
  {
    key: 'ntp_server',
    type: 'string',
    restart_needed: false,
    pattern: '^[A-Za-z0-9.-]+$',
    labels: { de: 'Zeitserver', en: 'Time server', fr: 'Serveur de temps' },
  },
  {
    key: 'ntp_interval_minutes',
    type: 'integer',
    restart_needed: false,
    min: 1,
    max: 1440,
    labels: { de: 'Abfrage alle (Minuten)', en: 'Asked every (minutes)', fr: 'Interrogé toutes les (minutes)' },
  },
  {
    key: 'music_on_hold',
    type: 'boolean',
    restart_needed: false,
    labels: { de: 'Wartemusik', en: 'Music on hold', fr: 'Musique d’attente' },
  },
  {
    key: 'dns_servers',
    type: 'list',
    restart_needed: true,
    labels: { de: 'DNS-Server', en: 'DNS servers', fr: 'Serveurs DNS' },
  },
  {
    key: 'country',
    type: 'string',
    enum: ['DE', 'AT', 'CH', 'FR'],
    restart_needed: true,
    labels: { de: 'Land', en: 'Country', fr: 'Pays' },
  },
];
/** @returns {Record<string, any>} */
const values = () => ({
  ntp_server: 'pool.ntp.org',
  ntp_interval_minutes: 60,
  music_on_hold: true,
  dns_servers: ['192.0.2.1', '192.0.2.2'],
  country: 'DE',
});

/** @type {Partial<Rollout['plan']>} */
const plan = {
  rings: [{ count: 1 }, { percent: 10 }, { percent: 100 }],
  parallel: 10,
  pause_minutes: 10,
  wait_hours: 72,
};

/**
 * @param {Map<string, System>} systems
 * @param {(id: string) => System} find
 * @param {(message: import('../src/api/types.ts').LiveEvent) => void} emit
 * @param {(code: string, errors?: object[]) => Error} refuse
 * @param {import('../src/firmware/queries.ts').Firmware[]} images
 */
export function makeRollouts(systems, find, emit, refuse, images) {
  let ids = 0;
  /** @type {Map<string, { version: number, settings: Record<string, any> }>} */
  const configurations = new Map();
  /** @type {Template[]} */
  const templates = [];
  /** @type {Rollout[]} */
  const rollouts = [];
  /** @type {Map<string, RolloutDevice[]>} */
  const devices = new Map();
  const knobs = {
    /** The next so many reads of settings fail. */
    unread: 0,
  };
  const paired = [...systems.values()].filter((s) => s.state === 'paired');
  const by = { id: 'u-1', name: 'Anna Berger' };

  /** @param {string} id */
  const configuration = (id) => {
    const known = configurations.get(find(id).id) ?? { version: 1, settings: values() };
    configurations.set(id, known);
    return known;
  };
  /** The rings of a rollout, counted from its systems. @param {Rollout} r */
  const counted = (r) => {
    const all = devices.get(r.id) ?? [];
    /** @type {Rollout['rings']} */
    const rings = [];
    for (const d of all) {
      rings[d.ring] ??= { ring: d.ring, systems: 0, states: {} };
      const ring = rings[d.ring];
      if (!ring) continue;
      ring.systems++;
      ring.states[d.state] = (ring.states[d.state] ?? 0) + 1;
    }
    return Object.assign(r, { rings, systems: all.length });
  };
  /** @param {System} s @param {number} i @param {number} n @param {Partial<RolloutDevice>} [more] @returns {RolloutDevice} */
  const deviceOf = (s, i, n, more = {}) => ({
    system_id: s.id,
    serial: s.serial,
    name: s.name,
    ring: i < 1 ? 0 : i < 1 + Math.ceil(n / 10) ? 1 : 2,
    state: 'pending',
    changes: [],
    restart_needed: false,
    changed_at: at(-60_000),
    ...more,
  });
  /** @param {Partial<Rollout>} more @param {readonly System[]} of @param {(i: number) => Partial<RolloutDevice>} state */
  const make = (more, of, state) => {
    /** @type {Rollout} */
    const r = {
      id: `r-${++ids}`,
      name: 'Rollout',
      kind: 'settings',
      state: 'ready',
      settings: { ntp_server: 'ntp.example.org' },
      plan: structuredClone(plan),
      ring: 0,
      rings: [],
      systems: 0,
      created_at: at(-ids * 5 * hour),
      by,
      ...more,
    };
    devices.set(
      r.id,
      of.map((s, i) => deviceOf(s, i, of.length, state(i))),
    );
    rollouts.push(counted(r));
    return r;
  };

  if (paired.length > 20) {
    const change = [{ key: 'ntp_server', old: 'pool.ntp.org', new: 'ntp.example.org' }];
    make(
      { name: 'Zeitserver umstellen', state: 'halted', reason: 'failures', ring: 1, started_at: at(-hour) },
      paired.slice(0, 40),
      (i) =>
        i === 2
          ? { state: 'failed', code: 'verify', detail: 'ntp_server', changes: change }
          : i === 3
            ? { state: 'conflict', code: 'changed', changes: change }
            : i < 5
              ? { state: 'done', changes: change }
              : i === 6
                ? { state: 'offline', changes: change }
                : { changes: change },
    );
    make(
      { name: 'Neustart nach dem Umzug', kind: 'restart', state: 'done', settings: {}, started_at: at(-9 * hour) },
      paired.slice(0, 3),
      () => ({
        state: 'done',
      }),
    );
    templates.push({
      id: 'tpl-1',
      name: 'Uhrzeit und DNS',
      version: 3,
      settings: { ntp_server: 'ntp.example.org', dns_servers: ['192.0.2.1'] },
      created_at: at(-90 * 24 * hour),
      changed_at: at(-24 * hour),
      changed_by: by,
    });
  }

  /** @template T @param {T[]} list @param {URLSearchParams} query */
  const page = (list, query) => {
    const from = Number(query.get('cursor') ?? 0);
    const limit = Number(query.get('limit') ?? 50);
    const next = from + limit < list.length ? { next: String(from + limit) } : {};
    return { items: list.slice(from, from + limit), ...next };
  };
  /** @template {{ id: string }} T @param {T[]} list @param {string} which @returns {T} */
  const one = (list, which) => {
    const found = list.find((v) => v.id === which);
    if (!found) throw refuse('not_found');
    return found;
  };
  const told = () => emit({ event: 'rollout', data: {} });

  /** @typedef {{ id: string, body: any, query: URLSearchParams, user: Me['user'], req: import('node:http').IncomingMessage }} Call */
  /** @type {[string, RegExp, (c: Call) => unknown][]} */
  const routes = [
    [
      'GET',
      /^\/systems\/([^/]+)\/configuration$/,
      ({ id }) => {
        const { version, settings } = configuration(id);
        if (knobs.unread > 0) {
          knobs.unread--;
          throw refuse('unavailable');
        }
        if (!find(id).online) throw refuse('offline');
        return { version: String(version), settings, model: 'COMtrexx Business', firmware: '2.0.3', schema };
      },
    ],
    [
      'PATCH',
      /^\/systems\/([^/]+)\/configuration$/,
      ({ id, body, query, req }) => {
        const known = configuration(id);
        if (req.headers['if-match'] !== `"${known.version}"`) throw refuse('version');
        if (body.settings.ntp_server === 'nothing')
          throw refuse('invalid', [{ location: 'body.settings.ntp_server', code: 'invalid', message: 'is no server' }]);
        const changes = Object.entries(body.settings).map(([key, value]) => ({
          key,
          old: known.settings[key],
          new: value,
        }));
        const dry = query.get('dry_run') === 'true';
        if (!dry) {
          Object.assign(known.settings, body.settings);
          known.version++;
        }
        const restart = changes.some(({ key }) => schema.find((s) => s.key === key)?.restart_needed);
        return { version: String(known.version), dry_run: dry, changes, restart_needed: restart };
      },
    ],
    ['POST', /^\/systems\/([^/]+)\/restart$/, ({ id }) => void find(id)],
    ['GET', /^\/templates$/, () => ({ items: templates })],
    [
      'POST',
      /^\/templates$/,
      ({ body, user }) => {
        const made = {
          id: `tpl-n${++ids}`,
          version: 1,
          ...body,
          created_at: at(0),
          changed_at: at(0),
          changed_by: user,
        };
        templates.push(made);
        return made;
      },
    ],
    ['DELETE', /^\/templates\/([^/]+)$/, ({ id }) => void templates.splice(templates.indexOf(one(templates, id)), 1)],
    [
      'GET',
      /^\/rollouts$/,
      ({ query }) =>
        page(
          [...rollouts].sort((a, b) => (a.created_at < b.created_at ? 1 : -1)),
          query,
        ),
    ],
    [
      'POST',
      /^\/rollouts$/,
      ({ body }) => {
        const ids = /** @type {string[] | undefined} */ (body.system_ids);
        const of = ids ? ids.map(find) : [...systems.values()].filter((s) => s.state === 'paired').slice(0, 50);
        const changes = Object.entries(body.settings ?? {}).map(([key, value]) => ({
          key,
          old: 'pool.ntp.org',
          new: value,
        }));
        const { filter: _f, system_ids: _s, firmware_id, ...rest } = body;
        const image = images.find((v) => v.id === firmware_id);
        if (body.kind !== 'firmware')
          return make({ settings: {}, ...rest, state: 'ready', created_at: at(0) }, of, () => ({ changes }));
        if (!image)
          throw refuse('invalid', [{ location: 'body.firmware_id', code: 'reference', message: 'is not there' }]);
        const { id, model, version } = image;
        const made = { settings: {}, ...rest, firmware: { id, model, version }, state: 'ready', created_at: at(0) };
        return make(made, of, (i) =>
          i === 1
            ? { state: 'refused', code: 'maintenance' }
            : { changes: [{ key: 'firmware', old: '2.0.3', new: version }] },
        );
      },
    ],
    ['GET', /^\/rollouts\/([^/]+)$/, ({ id }) => counted(one(rollouts, id))],
    [
      'GET',
      /^\/rollouts\/([^/]+)\/systems$/,
      ({ id, query }) => {
        const states = query.getAll('state');
        const all = devices.get(one(rollouts, id).id) ?? [];
        return page(
          all.filter((d) => states.length === 0 || states.includes(d.state)),
          query,
        );
      },
    ],
    [
      'GET',
      /^\/rollouts\/([^/]+)\/diffs$/,
      ({ id }) => {
        const all = (devices.get(one(rollouts, id).id) ?? []).filter((d) => d.changes.length > 0);
        if (all.length === 0) return { items: [] };
        return {
          items: [{ diff: 'd-1', systems: all.length, changes: all[0]?.changes ?? [], restart_needed: false }],
        };
      },
    ],
    [
      'POST',
      /^\/rollouts\/([^/]+)\/control$/,
      ({ id, body }) => {
        const r = one(rollouts, id);
        /** @type {Record<string, Rollout['state']>} */
        const next = {
          check: 'ready',
          start: 'running',
          pause: 'paused',
          resume: 'running',
          stop: 'stopped',
          rollback: 'reverting',
        };
        Object.assign(r, {
          state: next[body.action] ?? r.state,
          ...(body.action === 'start' && { started_at: at(0) }),
        });
        delete r.reason;
        told();
        return counted(r);
      },
    ],
  ];

  return {
    routes,
    rollouts,
    devices,
    templates,
    knobs,
    /** As if somebody at the PBX changed something. @param {string} id @param {Record<string, unknown>} settings */
    changeAtPBX(id, settings) {
      const known = configuration(id);
      Object.assign(known.settings, settings);
      known.version++;
    },
    /** How a rollout goes on. @param {Rollout} rollout @param {Partial<Rollout>} change @param {(d: RolloutDevice) => Partial<RolloutDevice>} [each] */
    progress(rollout, change, each) {
      Object.assign(rollout, change);
      if (each) for (const d of devices.get(rollout.id) ?? []) Object.assign(d, each(d));
      counted(rollout);
      told();
    },
  };
}
