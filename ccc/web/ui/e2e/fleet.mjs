// A made-up fleet for the mock server; the same each time.

/** @typedef {import('../src/api/types.ts').System} System */

/** Random numbers that are the same each time (mulberry32). @param {number} seed */
export function randomFrom(seed) {
  let a = seed;
  return () => {
    a = (a + 0x6d2b79f5) | 0;
    let t = Math.imul(a ^ (a >>> 15), 1 | a);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

const places = [
  'Braunschweig',
  'Hannover',
  'Hamburg',
  'Berlin',
  'München',
  'Köln',
  'Leipzig',
  'Dresden',
  'Bremen',
  'Lyon',
  'Paris',
  'Wien',
  'Zürich',
  'Göttingen',
  'Kiel',
  'Mainz',
  'Ulm',
  'Trier',
  'Celle',
  'Gent',
];
const owners = [
  'Autohaus Peters',
  'Praxis Dr. Lindner',
  'Kanzlei Moritz & Partner',
  'Hotel Am Markt',
  'Bäckerei Krause',
  'Stadtwerke',
  'Möbelhaus Reinke',
  'Steuerbüro Falk',
  'Apotheke am Dom',
  'Grundschule Nord',
  'Tischlerei Baum',
  'Ingenieurbüro Vogt',
  'Pflegedienst Sonne',
  'Weingut Sturm',
  'Fahrrad Schulte',
  'Druckerei Winter',
  'Architekten Brandt',
  'Hausverwaltung Oster',
  'Musikschule Takt',
  'Spedition Harms',
];
const tags = [
  'premium',
  'wartung',
  'pilot',
  'v8.4',
  'rollout-2',
  'isdn',
  'homeoffice',
  'beta',
  'vertrag-a',
  'vertrag-b',
];
const notes = [
  '',
  '',
  '',
  'Serverraum im Keller, Schlüssel beim Hausmeister',
  'Ansprechpartnerin: Frau Meier',
  'Internet über LTE, langsam',
  'Umzug im Frühjahr geplant',
];

export const groups = ['Nord', 'Süd', 'Frankreich', 'Filialen', 'Direktkunden'].map((name, i) => ({
  id: `g-${i + 1}`,
  name,
}));

const unpaired = /** @type {const} */ (['offered', 'received', 'expired', 'declined', 'error', 'left']);

/**
 * Most are paired; the first of a small fleet are not, so that it has each state.
 * @param {number} n @param {number} now @returns {System[]}
 */
export function makeFleet(n, now) {
  const random = randomFrom(20260301);
  /** @template T @param {readonly T[]} list @returns {T} */
  const pick = (list) => /** @type {T} */ (list[Math.floor(random() * list.length)]);
  const ago = (/** @type {number} */ seconds) => new Date(now - seconds * 1000).toISOString();
  const made = Array.from({ length: n }, (_, i) => {
    const dice = random();
    const state = dice < 0.9965 ? (n < 1000 && unpaired[i]) || 'paired' : pick(unpaired);
    const created = 86_400 * (2 + random() * 900);
    const online = state === 'paired' && random() < 0.972;
    const since = Math.min(created, 30 + 86_400 * 60 * random() ** 3);
    /** @type {System} */
    const system = {
      id: `s-${String(i + 1).padStart(5, '0')}`,
      serial: String(1_000_000_000 + Math.floor(random() * 8_999_999_999)),
      name: `${10_000 + Math.floor(random() * 90_000)} ${pick(owners)} ${pick(places)}`,
      note: pick(notes),
      state,
      state_since: ago(state === 'paired' ? created - 300 : since),
      version: 1 + Math.floor(random() * 9),
      created_at: ago(created),
      epoch: state === 'paired' ? '1' : '0',
      online,
      tags: tags.filter(() => random() < 0.16),
      groups: groups.filter(() => random() < 0.22),
    };
    if (state === 'error') system.error_code = pick(/** @type {const} */ (['auth', 'taken', 'proof']));
    if (state === 'paired') {
      system.paired_at = ago(created - 300);
      if (online) {
        system.online_since = ago(since);
        system.transport = random() < 0.87 ? 'quic' : 'tcp';
        system.rtt_ms = Math.round(40 + random() ** 2 * 900) / 10;
      } else {
        system.last_seen_at = ago(since);
      }
    }
    return system;
  });
  const collator = new Intl.Collator('de', { numeric: true });
  return made.sort((a, b) => collator.compare(a.name, b.name));
}
