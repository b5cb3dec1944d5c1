import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import type { LiveEvent } from '../api/types';
import { delay } from './backoff';
import { LiveStream, type StreamState } from './stream';

describe('delay', () => {
  const backoff = { first: 1000, most: 30_000 };
  it('doubles up to the most', () => {
    expect([1, 2, 3, 4, 5, 6, 50].map((n) => delay(n, backoff, 1))).toEqual([
      1000, 2000, 4000, 8000, 16_000, 30_000, 30_000,
    ]);
  });
  it('is between half and all', () => {
    expect(delay(3, backoff, 0)).toBe(2000);
    expect(delay(3, backoff, 1)).toBe(4000);
  });
});

interface Connection {
  send(text: string): void;
  end(): void;
  aborted(): boolean;
}

let connections: Connection[];
let answer: () => number;
let states: StreamState['state'][];
let events: LiveEvent[];
let opened: number;
let signedOut: number;
let gone: number;
let stream: LiveStream | undefined;

beforeEach(() => {
  vi.useFakeTimers();
  vi.spyOn(Math, 'random').mockReturnValue(1);
  [connections, states, events, opened, signedOut, gone] = [[], [], [], 0, 0, 0];
  answer = () => 200;
  vi.stubGlobal('fetch', (_: string, init: RequestInit) => {
    const status = answer();
    if (status === 0) return Promise.reject(new TypeError('Failed to fetch'));
    const body = new ReadableStream<Uint8Array>({
      start(controller) {
        let aborted = false;
        init.signal?.addEventListener('abort', () => {
          if (!aborted) controller.error(new DOMException('', 'AbortError'));
          aborted = true;
        });
        connections.push({
          send: (text) => controller.enqueue(new TextEncoder().encode(text)),
          end: () => {
            aborted = true;
            controller.close();
          },
          aborted: () => init.signal?.aborted ?? false,
        });
      },
    });
    return Promise.resolve(new Response(body, { status, headers: status === 503 ? { 'Retry-After': '12' } : {} }));
  });
});

afterEach(() => {
  stream?.close();
  stream = undefined;
  vi.useRealTimers();
  vi.unstubAllGlobals();
  vi.restoreAllMocks();
});

async function start() {
  stream = new LiveStream({
    url: '/events',
    onOpen: () => opened++,
    onEvent: (event) => events.push(event),
    onState: ({ state }) => states.push(state),
    onUnauthenticated: () => signedOut++,
    onGone: () => gone++,
  });
  await vi.advanceTimersByTimeAsync(0);
}

const removed = (id: string) => `event: removed\ndata: {"id":"${id}"}\n\n`;

describe('LiveStream', () => {
  it('gives events as they come, in whatever pieces', async () => {
    await start();
    const text = removed('ä') + removed('b');
    const bytes = new TextEncoder().encode(text);
    connections[0]?.send(new TextDecoder().decode(bytes.slice(0, 9)));
    connections[0]?.send(text.slice(9));
    await vi.advanceTimersByTimeAsync(0);
    expect(events).toEqual([
      { event: 'removed', data: { id: 'ä' } },
      { event: 'removed', data: { id: 'b' } },
    ]);
    expect(states).toEqual(['connecting', 'live']);
    expect(opened).toBe(1);
  });

  it('leaves out what it does not know or cannot read', async () => {
    await start();
    connections[0]?.send(`event: novelty\ndata: {}\n\nevent: removed\ndata: {\n\n: comment\n\n${removed('a')}`);
    await vi.advanceTimersByTimeAsync(0);
    expect(events).toEqual([{ event: 'removed', data: { id: 'a' } }]);
  });

  it('comes back with growing waits, and at once after a long life', async () => {
    await start();
    connections[0]?.end();
    await vi.advanceTimersByTimeAsync(999);
    expect(connections).toHaveLength(1);
    await vi.advanceTimersByTimeAsync(1);
    expect(connections).toHaveLength(2);
    connections[1]?.end();
    await vi.advanceTimersByTimeAsync(1999);
    expect(connections).toHaveLength(2);
    await vi.advanceTimersByTimeAsync(1);
    expect(connections).toHaveLength(3);
    expect(opened).toBe(3);
    await vi.advanceTimersByTimeAsync(15_000);
    connections[2]?.end();
    await vi.advanceTimersByTimeAsync(1000);
    expect(connections).toHaveLength(4);
  });

  it('keeps trying without a network, and does not wait when told so', async () => {
    answer = () => 0;
    await start();
    await vi.advanceTimersByTimeAsync(1000 + 2000 + 4000);
    expect(states.filter((s) => s === 'connecting')).toHaveLength(4);
    answer = () => 200;
    stream?.retryNow();
    await vi.advanceTimersByTimeAsync(0);
    expect(states.at(-1)).toBe('live');
  });

  it('waits as long as the server says', async () => {
    answer = () => 503;
    await start();
    answer = () => 200;
    await vi.advanceTimersByTimeAsync(11_999);
    expect(states.at(-1)).toBe('waiting');
    await vi.advanceTimersByTimeAsync(1);
    expect(states.at(-1)).toBe('live');
  });

  it('gives up a silent stream; a comment is a sign of life', async () => {
    await start();
    await vi.advanceTimersByTimeAsync(39_000);
    connections[0]?.send(': heartbeat\n\n');
    await vi.advanceTimersByTimeAsync(39_000);
    expect(states.at(-1)).toBe('live');
    await vi.advanceTimersByTimeAsync(2000);
    expect(connections[0]?.aborted()).toBe(true);
    expect(connections).toHaveLength(2);
  });

  it('ends for good when nobody is signed in', async () => {
    answer = () => 401;
    await start();
    expect(signedOut).toBe(1);
    answer = () => 200;
    await vi.advanceTimersByTimeAsync(120_000);
    expect(opened).toBe(0);
  });

  it('ends for good when the tenant is not to be seen any more', async () => {
    answer = () => 404;
    await start();
    expect([gone, signedOut]).toEqual([1, 0]);
    answer = () => 200;
    await vi.advanceTimersByTimeAsync(120_000);
    expect(opened).toBe(0);
  });

  it('is silent after close', async () => {
    await start();
    stream?.close();
    await vi.advanceTimersByTimeAsync(120_000);
    expect(connections).toHaveLength(1);
    expect(connections[0]?.aborted()).toBe(true);
    expect(states).toEqual(['connecting', 'live']);
  });
});
