// Lists of PBXs and sheets of their tokens, as the mock server takes them.

/**
 * @typedef {import('../src/api/types.ts').ImportLine} ImportLine
 * @typedef {import('../src/api/types.ts').Me} Me
 * @typedef {import('../src/api/types.ts').Offer} Offer
 * @typedef {import('../src/api/types.ts').System} System
 */

/**
 * @param {Map<string, System>} systems
 * @param {(body: { serial: string, name: string }, user: Me['user']) => { system: System }} create
 * @param {Map<string, Offer & { creator: string }>} offers
 * @param {(offer: Offer & { creator: string }) => Offer} shown
 * @returns {[string, RegExp, (c: any) => unknown][]}
 */
export function onboardingRoutes(systems, create, offers, shown) {
  return [
    [
      'POST',
      /^\/onboarding$/,
      (
        /** @type {{ text: string, query: URLSearchParams, user: Me['user'], res: import('node:http').ServerResponse }} */ c,
      ) => {
        const dry = c.query.get('dry_run') === 'true';
        const [head = '', ...rows] = c.text.split('\n');
        const columns = head.trim().split(';');
        const filled = rows.map((row, i) => ({ row: row.trim(), line: i + 2 })).filter(({ row }) => row !== '');
        const lines = filled.map(({ row, line }) => {
          const [serial = '', name = ''] = row.split(';');
          const known = [...systems.values()].find((s) => s.serial === serial);
          /** @type {ImportLine} */
          const one = { line, serial, name, outcome: 'created', errors: [] };
          if (!/^\d{10}$/.test(serial)) {
            one.outcome = 'invalid';
            one.errors = [{ column: 'serial', code: 'pattern', message: 'is not ten digits' }];
          } else if (known) Object.assign(one, { outcome: 'exists', system_id: known.id });
          else if (!dry) one.system_id = create({ serial, name }, c.user).system.id;
          return one;
        });
        const many = (/** @type {string} */ outcome) => lines.filter((l) => l.outcome === outcome).length;
        const summary = {
          dry_run: dry,
          lines: lines.length,
          created: many('created'),
          exists: many('exists'),
          invalid: many('invalid'),
          refused: 0,
          columns,
          ignored: [],
          new_sites: [],
          new_groups: [],
        };
        c.res.writeHead(200, { 'Content-Type': 'application/x-ndjson' });
        for (const line of lines) c.res.write(`${JSON.stringify({ line, total: lines.length })}\n`);
        c.res.end(`${JSON.stringify({ summary })}\n`);
      },
    ],
    [
      'POST',
      /^\/onboarding\/sheet$/,
      (/** @type {{ body: { system_ids: string[] } }} */ { body }) => {
        /** @type {import('../src/api/types.ts').Sheet} */
        const sheet = { tenant: 'Nordlicht Telefonie GmbH', items: [], left_out: [] };
        for (const id of body.system_ids) {
          const system = systems.get(id);
          const offer = offers.get(id);
          if (system && offer)
            sheet.items.push({ system_id: id, serial: system.serial, name: system.name, offer: shown(offer) });
        }
        return sheet;
      },
    ],
  ];
}
