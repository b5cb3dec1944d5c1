import { createParser } from 'eventsource-parser';
import { errorOf } from '../api/problem';
import type { LiveEvent } from '../api/types';
import { type Backoff, delay, streamBackoff } from './backoff';

export type StreamState = { state: 'connecting' } | { state: 'live' } | { state: 'waiting'; retryAt: number };

export interface StreamConfig {
  url: string;
  headers?: Readonly<Record<string, string>>;
  /** The stream has begun; all before it is unknown. */
  onOpen(): void;
  onEvent(event: LiveEvent): void;
  onState(state: StreamState): void;
  /** The server says that nobody is signed in: the stream has ended for good. */
  onUnauthenticated(): void;
  /** The server knows nothing of the tenant: the stream has ended for good. */
  onGone(): void;
  backoff?: Backoff;
  /** The server sends a comment at least every 15 s; after so many ms it is given up. */
  silence?: number;
  /** A stream that lived so many ms is no failure when it ends. */
  stable?: number;
}

const events = new Set<string>(['system', 'removed', 'presence', 'offer', 'remote', 'rollout', 'summary', 'reset']);

/**
 * Follows the live events until close is called, and comes back with growing waits when
 * the stream ends. It is fetch and not EventSource, which tells neither the status of a
 * refusal nor the heartbeat, and cannot be told when to come back.
 */
export class LiveStream {
  private failures = 0;
  private timer: ReturnType<typeof setTimeout> | undefined;
  private abort: AbortController | undefined;
  private closed = false;

  constructor(private readonly config: StreamConfig) {
    this.connect();
  }

  close(): void {
    this.closed = true;
    clearTimeout(this.timer);
    this.abort?.abort();
  }

  /** Does not wait any longer. */
  retryNow(): void {
    if (this.closed || this.timer === undefined) return;
    clearTimeout(this.timer);
    this.connect();
  }

  private connect(): void {
    this.timer = undefined;
    this.config.onState({ state: 'connecting' });
    void this.follow();
  }

  private async follow(): Promise<void> {
    const abort = new AbortController();
    this.abort = abort;
    let watchdog: ReturnType<typeof setTimeout> | undefined;
    const alive = () => {
      clearTimeout(watchdog);
      watchdog = setTimeout(() => abort.abort(), this.config.silence ?? 40_000);
    };
    let opened = 0;
    let retryAfter = 0;
    try {
      alive();
      const response = await fetch(this.config.url, {
        headers: { ...this.config.headers, Accept: 'text/event-stream' },
        cache: 'no-store',
        signal: abort.signal,
      });
      if (response.status === 401) {
        this.closed = true;
        this.config.onUnauthenticated();
        return;
      }
      if (response.status === 404) {
        this.closed = true;
        this.config.onGone();
        return;
      }
      if (!response.ok || !response.body) {
        retryAfter = (errorOf(response, null).retryAfter ?? 0) * 1000;
        throw new Error(`status ${response.status}`);
      }
      opened = Date.now();
      this.config.onState({ state: 'live' });
      this.config.onOpen();
      const parser = createParser({ onEvent: ({ event, data }) => this.take(event, data) });
      const text = new TextDecoder();
      for (const reader = response.body.getReader(); ; ) {
        const { done, value } = await reader.read();
        if (done || this.closed) break;
        alive();
        parser.feed(text.decode(value, { stream: true }));
      }
    } catch {
      // Whatever it was, the answer is to come back later.
    } finally {
      clearTimeout(watchdog);
      abort.abort();
    }
    if (this.closed) return;
    this.failures = opened && Date.now() - opened >= (this.config.stable ?? 10_000) ? 1 : this.failures + 1;
    const wait = Math.max(retryAfter, delay(this.failures, this.config.backoff ?? streamBackoff));
    this.config.onState({ state: 'waiting', retryAt: Date.now() + wait });
    this.timer = setTimeout(() => this.connect(), wait);
  }

  private take(event: string | undefined, data: string): void {
    // Old pages and new servers mix: what is unknown is left out.
    if (this.closed || !event || !events.has(event)) return;
    try {
      this.config.onEvent({ event, data: JSON.parse(data) } as LiveEvent);
    } catch {
      // A line that is no JSON; the next reset or load mends what it would have said.
    }
  }
}
