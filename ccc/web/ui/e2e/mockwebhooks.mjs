// Webhooks and what they were told, as the mock server knows them.

/**
 * @typedef {import('../src/api/types.ts').Webhook} Webhook
 * @typedef {import('../src/api/types.ts').WebhookDelivery} WebhookDelivery
 */

const hour = 3_600_000;
const at = (/** @type {number} */ ms) => new Date(Date.now() + ms).toISOString();

/** @param {boolean} some @param {(code: string, errors?: object[]) => Error} refuse */
export function makeWebhooks(some, refuse) {
  let ids = 0;
  /** @type {Webhook[]} */
  const webhooks = some
    ? [
        {
          id: 'wh-1',
          url: 'https://hooks.example.org/comtrexx',
          events: ['system.online', 'system.offline', 'rollout.changed'],
          enabled: true,
          state: 'good',
          created_at: at(-900 * hour),
          failures: 0,
        },
        {
          id: 'wh-2',
          url: 'https://hooks.example.net/a-rather-long-path/that-has-to-wrap-on-narrow-pages/0123456789abcdef',
          events: ['user.created', 'break_glass.begun'],
          enabled: true,
          state: 'failing',
          created_at: at(-90 * hour),
          failing_since: at(-3 * hour),
          failures: 12,
        },
      ]
    : [];
  /** @type {Map<string, WebhookDelivery[]>} */
  const deliveries = new Map(
    webhooks.map((w) => [
      w.id,
      Array.from({ length: 6 }, (_, i) => ({
        id: `d-${w.id}-${i}`,
        event: w.events[i % w.events.length] ?? 'system.online',
        state: /** @type {WebhookDelivery['state']} */ (
          w.failures > 0 ? (i === 0 ? 'waiting' : 'failed') : 'delivered'
        ),
        tries: w.failures > 0 ? 3 : 1,
        created_at: at(-i * hour),
        ...(w.failures > 0 && i === 0 && { next_at: at(hour) }),
      })),
    ]),
  );
  const find = (/** @type {string} */ id) => {
    const found = webhooks.find((w) => w.id === id);
    if (!found) throw refuse('not_found');
    return found;
  };
  /** @typedef {{ id: string, path: string, body: any }} Call */
  /** @type {[string, RegExp, (c: Call) => unknown][]} */
  const routes = [
    ['GET', /^\/webhooks$/, () => ({ items: webhooks })],
    [
      'POST',
      /^\/webhooks$/,
      ({ body }) => {
        if (!body.url.startsWith('https:'))
          throw refuse('invalid', [{ location: 'body.url', code: 'invalid', message: 'is not https' }]);
        /** @type {Webhook} */
        const webhook = { id: `wh-n${++ids}`, enabled: true, state: 'good', created_at: at(0), failures: 0, ...body };
        webhooks.push(webhook);
        deliveries.set(webhook.id, []);
        return { webhook, secret: 'whsec_c2VjcmV0IG9mIGEgdGVzdA==' };
      },
    ],
    [
      'PATCH',
      /^\/webhooks\/([^/]+)$/,
      ({ id, body }) => {
        const webhook = Object.assign(find(id), body);
        webhook.state = webhook.enabled ? 'good' : 'disabled';
        return webhook;
      },
    ],
    ['DELETE', /^\/webhooks\/([^/]+)$/, ({ id }) => void webhooks.splice(webhooks.indexOf(find(id)), 1)],
    ['POST', /^\/webhooks\/([^/]+)\/secret$/, ({ id }) => ({ webhook: find(id), secret: 'whsec_YW5vdGhlciBvbmU=' })],
    [
      'POST',
      /^\/webhooks\/([^/]+)\/test$/,
      ({ id }) => {
        /** @type {WebhookDelivery} */
        const made = { id: `d-n${++ids}`, event: 'webhook.test', state: 'delivered', tries: 1, created_at: at(0) };
        deliveries.get(find(id).id)?.unshift(made);
        return made;
      },
    ],
    [
      'POST',
      /^\/webhooks\/([^/]+)\/replay$/,
      ({ id }) => {
        const failed = deliveries.get(find(id).id)?.filter((d) => d.state === 'failed') ?? [];
        for (const d of failed) Object.assign(d, { state: 'waiting' });
        return { deliveries: failed.length };
      },
    ],
    ['GET', /^\/webhooks\/([^/]+)\/deliveries$/, ({ id }) => ({ items: deliveries.get(find(id).id) ?? [] })],
    [
      'GET',
      /^\/webhooks\/([^/]+)\/deliveries\/[^/]+$/,
      ({ id, path }) => {
        const found = deliveries.get(find(id).id)?.find((d) => d.id === path.split('/').at(-1));
        if (!found) throw refuse('not_found');
        return {
          ...found,
          body: { id: found.id, event: found.event, at: found.created_at, data: { system: 's-00001' } },
          log: [{ at: found.created_at, status: 503, milliseconds: 182, failure: 'status' }],
        };
      },
    ],
    ['POST', /^\/webhooks\/([^/]+)\/deliveries\/[^/]+\/replay$/, ({ id }) => void find(id)],
  ];
  return { webhooks, routes };
}
