// Remote access and the counts of accesses, as the mock server knows them.

/**
 * @typedef {import('../src/api/types.ts').RemoteSession} RemoteSession
 * @typedef {import('../src/api/types.ts').AccessStatistics} AccessStatistics
 * @typedef {import('../src/api/types.ts').System} System
 * @typedef {{ id: string, name: string }} Person
 */

const minute = 60_000;
const day = 24 * 60 * minute;
const at = (/** @type {number} */ ms) => new Date(Date.now() + ms).toISOString();

/** A record that somebody has asked for. @param {System} system @param {Person} user @param {Partial<RemoteSession>} more @returns {RemoteSession} */
function recordOf(system, user, more) {
  return {
    id: `r-${system.id}-${Math.random().toString(36).slice(2)}`,
    system_id: system.id,
    serial: system.serial,
    user: { id: user.id, name: user.name },
    own: true,
    reason: 'Faxe kommen seit gestern nicht mehr an',
    minutes: 60,
    service: 'web',
    state: 'pending',
    requested_at: at(0),
    expires_at: at(15 * minute),
    confirmed: false,
    bytes_in: 0,
    bytes_out: 0,
    ...more,
  };
}

/** Records of the past, of a few systems. @param {System[]} systems @returns {RemoteSession[]} */
export function makeRecords(systems) {
  const paired = systems.filter((s) => s.state === 'paired');
  const anna = { id: 'u-1', name: 'Anna Berger' };
  const luc = { id: 'u-3', name: 'Luc Moreau' };
  return paired.slice(0, 40).map((system, i) => {
    const started = -(i + 1) * 0.7 * day;
    const common = { requested_at: at(started - 3 * minute), expires_at: at(started + 12 * minute), own: false };
    if (i % 7 === 3)
      return recordOf(system, luc, { ...common, state: 'refused', cause: 'admin', ended_at: at(started) });
    if (i % 7 === 5)
      return recordOf(system, anna, { ...common, state: 'expired', cause: 'no-consent', ended_at: at(started) });
    return recordOf(system, i % 2 ? luc : anna, {
      ...common,
      service: i % 5 === 1 ? 'ssh' : 'web',
      ...(i % 5 === 1 && { target: 'switch-1' }),
      state: 'ended',
      cause: i % 3 ? 'user' : 'time',
      consent: i % 4 ? 'request' : 'pin',
      confirmed: true,
      started_at: at(started),
      until: at(started + 60 * minute),
      ended_at: at(started + 20 * minute),
      bytes_in: 12_345 * (i + 1),
      bytes_out: 987_654 * (i + 1),
    });
  });
}

/** Counts that look like those of a small cloud. @param {'hour' | 'day'} by @param {number} days @returns {AccessStatistics} */
export function makeStatistics(by, days) {
  const unit = by === 'hour' ? day / 24 : day;
  const to = Date.now();
  const last = Math.floor(to / unit) * unit;
  const times = Array.from({ length: (days * day) / unit }, (_, i) => last - ((days * day) / unit - 1 - i) * unit);
  const server = (/** @type {string} */ name, /** @type {number} */ size, /** @type {number} */ age) => ({
    name,
    kept: true,
    from: new Date(times[0] ?? to).toISOString(),
    to: new Date(to).toISOString(),
    totals: times.flatMap((time, i) => {
      const wave = size * (by === 'day' ? 20 : 1) * (1.2 + Math.sin(i / (by === 'day' ? 1.1 : 3.8)));
      return /** @type {const} */ (['ok', 'refused', 'limited', 'failed']).flatMap((c, k) => {
        const count = Math.round(wave / 6 ** k);
        return count > 0
          ? [{ time: new Date(time).toISOString(), class: c, count, other: Math.round(count * 0.3) }]
          : [];
      });
    }),
    visitors: times
      .filter((time) => time % day === 0)
      .map((time, i) => ({ day: new Date(time).toISOString(), visitors: Math.round(size * (2 + Math.cos(i))) })),
    oldest: new Date(to - age * day).toISOString(),
    raw_for: 14 * 86_400,
    alarm: false,
  });
  const none = { kept: false, totals: [], visitors: [], raw_for: 0, alarm: false };
  return {
    by,
    servers: [
      server('ccc', 90, 13.4),
      { name: 'pki', ...none },
      server('relay-1', 240, 6.2),
      { name: 'relay-2', failure: 'unreachable', ...none },
      { ...server('ara', 40, 15), alarm: true },
    ],
  };
}

/**
 * The routes of remote access.
 * @param {RemoteSession[]} records the newest first
 * @param {(id: string) => System} find
 * @param {(message: import('../src/api/types.ts').LiveEvent) => void} emit
 * @param {(code: string) => Error} refusal
 * @returns {[string, RegExp, (c: { user: any, id: string, body: any, query: URLSearchParams }) => unknown][]}
 */
export function remoteRoutes(records, find, emit, refusal) {
  const seen = (/** @type {RemoteSession} */ r, /** @type {Person} */ user) => ({ ...r, own: r.user.id === user.id });
  const one = (/** @type {string} */ id) => {
    const r = records.find((x) => x.id === id);
    if (!r) throw refusal('not_found');
    return r;
  };
  return [
    [
      'GET',
      /^\/remote$/,
      ({ user, query }) => {
        const states = query.getAll('state');
        const fit = records.filter(
          (r) =>
            (states.length === 0 || states.includes(r.state)) &&
            (!query.get('system') || r.system_id === query.get('system')) &&
            (!query.get('serial') || r.serial === query.get('serial')),
        );
        const limit = Number(query.get('limit') ?? 50);
        const from = Number(query.get('cursor') ?? 0);
        const next = from + limit < fit.length ? { next: String(from + limit) } : {};
        return { items: fit.slice(from, from + limit).map((r) => seen(r, user)), ...next };
      },
    ],
    ['GET', /^\/remote\/([^/]+)$/, ({ user, id }) => seen(one(id), user)],
    [
      'GET',
      /^\/systems\/([^/]+)\/remote$/,
      ({ user, id }) => ({ items: records.filter((r) => r.system_id === find(id).id).map((r) => seen(r, user)) }),
    ],
    [
      'POST',
      /^\/systems\/([^/]+)\/remote$/,
      ({ user, id, body }) => {
        if (body.reason === 'off') throw refusal('remote_off');
        if (body.reason === 'no factor') throw refusal('second_factor_needed');
        const r = recordOf(find(id), user, body);
        r.start_url = `https://ara.localhost:1/begin?session=${r.id}`;
        records.unshift(r);
        emit({ event: 'remote', data: { system_id: id } });
        return r;
      },
    ],
    [
      'DELETE',
      /^\/systems\/[^/]+\/remote\/([^/]+)$/,
      ({ id }) => {
        const r = one(id);
        delete r.start_url;
        Object.assign(r, { state: 'ended', cause: 'user', ended_at: at(0) });
        emit({ event: 'remote', data: { system_id: r.system_id } });
      },
    ],
    [
      'GET',
      /^\/statistics\/access$/,
      ({ query }) => makeStatistics(query.get('by') === 'hour' ? 'hour' : 'day', Number(query.get('days') ?? 30)),
    ],
  ];
}
