// When systems were online, and where sites are, as the mock server knows them.

/**
 * @typedef {import('../src/api/types.ts').System} System
 * @typedef {import('../src/api/types.ts').HistoryInterval} HistoryInterval
 */

const hour = 3_600_000;
const iso = (/** @type {number} */ ms) => new Date(ms).toISOString();

/** What the systems that are offline are so for, in turn. */
const reasons = /** @type {const} */ ([
  'lost',
  'certificate_expired',
  'relay_drain',
  'shutdown',
  'relay_lost',
  'unknown',
]);

/** Gives systems that are offline a reason. @param {System[]} systems */
export function giveReasons(systems) {
  let n = 0;
  for (const system of systems) {
    if (system.state !== 'paired' || system.online) continue;
    system.offline_reason = reasons[n++ % reasons.length] ?? 'unknown';
    if (system.last_seen_at) system.offline_since = system.last_seen_at;
    if (n !== 3) continue;
    system.offline_reason = 'clone';
    system.quarantined = true;
  }
}

/** The intervals of a system, the newest first: in a month it was away some times. @param {System} system */
function intervalsOf(system) {
  const now = Date.now();
  /** @type {HistoryInterval[]} */
  const all = [];
  let at = now - 31 * 24 * hour;
  const put = (/** @type {number} */ hours, /** @type {Partial<HistoryInterval>} */ what) => {
    /** @type {HistoryInterval} */
    const one = { id: `i-${all.length}`, state: 'online', from: iso(at), to: iso(at + hours * hour), ...what };
    all.unshift(one);
    at += hours * hour;
  };
  const online = (/** @type {'quic' | 'tcp'} */ transport, /** @type {number} */ ms) =>
    /** @type {const} */ ({ relay: 'relay/fra-1', transport, rtt_ms: { min: ms * 0.8, mean: ms, max: ms * 1.6 } });
  put(200, online('quic', 14));
  put(5, { state: 'offline', reason: 'power' });
  put(220, online('tcp', 31));
  put(3, { state: 'flapping', changes: 18, online_seconds: 5200 });
  put(250, online('quic', 16));
  put(0.2, { state: 'offline', reason: 'restart' });
  put(50, online('quic', 12));
  put(2, { state: 'offline', reason: 'network' });
  put((now - at) / hour - 1, online('quic', 13));
  const last = system.online
    ? { ...online('quic', 13) }
    : {
        state: system.quarantined ? /** @type {const} */ ('quarantined') : /** @type {const} */ ('offline'),
        reason: system.offline_reason,
      };
  put(1, /** @type {Partial<HistoryInterval>} */ (last));
  delete all[0]?.to;
  return all;
}

/**
 * @param {Map<string, System>} systems
 * @param {(id: string) => System} find
 * @returns {[string, RegExp, (c: any) => unknown][]}
 */
export function historyRoutes(systems, find) {
  return [
    [
      'GET',
      /^\/systems\/([^/]+)\/history$/,
      (/** @type {{ id: string, query: URLSearchParams }} */ { id, query }) => {
        const from = Date.parse(query.get('from') ?? iso(Date.now() - 24 * hour));
        const to = Date.parse(query.get('to') ?? iso(Date.now()));
        const items = intervalsOf(find(id)).filter(
          (i) => Date.parse(i.from) < to && (!i.to || Date.parse(i.to) > from),
        );
        return { items, from: iso(from), to: iso(to), watched_seconds: (to - from) / 1000, availability: 98.734 };
      },
    ],
    [
      'GET',
      /^\/history\/summary$/,
      () => {
        const paired = [...systems.values()].filter((s) => s.state === 'paired');
        /** @type {Map<string, number>} */
        const counts = new Map();
        for (const s of paired)
          if (!s.online)
            counts.set(s.offline_reason ?? 'unknown', (counts.get(s.offline_reason ?? 'unknown') ?? 0) + 1);
        return {
          online: paired.filter((s) => s.online).length,
          quarantined: paired.filter((s) => s.quarantined).length,
          now: [...counts].map(([reason, n]) => ({ reason, systems: n })),
          day: [
            { reason: 'network', times: 7, systems: 3 },
            { reason: 'restart', times: 2, systems: 2 },
          ],
        };
      },
    ],
  ];
}
