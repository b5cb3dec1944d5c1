// Images of firmware, as the mock server keeps them.

/**
 * @typedef {import('../src/firmware/queries.ts').Firmware} Firmware
 * @typedef {import('../src/api/types.ts').System} System
 */

const hour = 3_600_000;
const at = (/** @type {number} */ ms) => new Date(Date.now() + ms).toISOString();

/**
 * @param {boolean} some
 * @param {(id: string, change: Partial<System>) => System} change
 * @param {(code: string, errors?: object[]) => Error} refuse
 */
export function makeFirmware(some, change, refuse) {
  let ids = 0;
  /** @param {string} version @param {number} age @returns {Firmware} */
  const image = (version, age) => ({
    id: `fw-${++ids}`,
    model: 'COMtrexx Business',
    version,
    min_version: '1.8.0',
    released: '2026-11-20',
    notes: {
      de: 'Neue Codecs.\nFehler beim Weiterleiten behoben.',
      en: 'New codecs.\nForwarding mended.',
      fr: 'Nouveaux codecs.\nRenvoi d’appel corrigé.',
    },
    size: 48_300_000,
    sha256: 'c0ffee00'.repeat(8),
    key_id: 'k-2026-1',
    uploaded_at: at(-age * hour),
  });
  const images = some ? [image('2.1.0', 30), image('2.0.3', 900)] : [];
  /** @typedef {{ id: string, text: string, body: any }} Call */
  /** @type {[string, RegExp, (c: Call) => unknown][]} */
  const routes = [
    ['GET', /^\/firmware$/, () => ({ items: images })],
    [
      'POST',
      /^\/firmware$/,
      ({ text }) => {
        if (text.startsWith('unsigned')) throw refuse('firmware_signature');
        const made = image('2.2.0', 0);
        images.unshift(made);
        return made;
      },
    ],
    [
      'DELETE',
      /^\/firmware\/([^/]+)$/,
      ({ id }) => {
        const found = images.findIndex((v) => v.id === id);
        if (found < 0) throw refuse('not_found');
        if (images[found]?.version === '2.1.0') throw refuse('firmware_in_use');
        images.splice(found, 1);
      },
    ],
    ['PUT', /^\/systems\/([^/]+)\/maintenance$/, ({ id, body }) => change(id, { maintenance_until: body.until })],
  ];
  return { images, routes };
}
