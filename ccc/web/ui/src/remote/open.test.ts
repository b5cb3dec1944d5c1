// @vitest-environment jsdom
import { afterEach, describe, expect, it, vi } from 'vitest';
import type { RemoteSession } from '../api/types';
import { begin, enter, hasBegun, tenantOf } from './open';

const session = { id: 's-1', start_url: 'https://ara.example.net/begin?session=s-1' } as RemoteSession;

afterEach(() => {
  sessionStorage.clear();
  vi.unstubAllGlobals();
});

describe('who comes back from the gateway', () => {
  const start = () => {
    const assign = vi.fn();
    vi.stubGlobal('location', { assign });
    begin(session);
    return assign;
  };
  it('goes on without a click, once', () => {
    expect(start()).toHaveBeenCalledWith(session.start_url);
    expect(hasBegun('s-1')).toBe(true);
    expect(hasBegun('s-1')).toBe(false);
  });
  it('not with another session', () => {
    start();
    expect(hasBegun('s-2')).toBe(false);
  });
  it('not after two minutes, nor with a clock that was set back', () => {
    start();
    expect(hasBegun('s-1', Date.now() + 121_000)).toBe(false);
    start();
    expect(hasBegun('s-1', Date.now() - 60_000)).toBe(false);
  });
  it('not by what is not ours', () => {
    sessionStorage.setItem('ccc-remote-open', 'x');
    expect(hasBegun('s-1')).toBe(false);
  });
  it('in the tenant where he began', async () => {
    start();
    expect(tenantOf('s-1')).toBeUndefined();
    vi.unstubAllGlobals();
    history.replaceState(null, '', '/?tenant=north-1');
    vi.resetModules();
    const there = await import('./open');
    vi.stubGlobal('location', { assign: vi.fn() });
    there.begin(session);
    expect(tenantOf('s-1')).toBe('north-1');
    expect(tenantOf('s-2')).toBeUndefined();
    expect(hasBegun('s-1')).toBe(true);
    expect(tenantOf('s-1')).toBeUndefined();
    vi.unstubAllGlobals();
    history.replaceState(null, '', '/');
  });
  it('goes nowhere without an address', () => {
    const assign = vi.fn();
    vi.stubGlobal('location', { assign });
    begin({ id: 's-1' } as RemoteSession);
    expect(assign).not.toHaveBeenCalled();
    expect(hasBegun('s-1')).toBe(false);
  });
});

it('posts the grant, and leaves it nowhere', () => {
  let sent = {};
  vi.spyOn(HTMLFormElement.prototype, 'submit').mockImplementation(function (this: HTMLFormElement) {
    sent = { method: this.method, action: this.action, grant: new FormData(this).get('grant') };
  });
  enter({ grant: 'a.b.c', url: 'https://label.ara.example.net/.ara/redeem', expires_at: '' });
  expect(sent).toEqual({ method: 'post', action: 'https://label.ara.example.net/.ara/redeem', grant: 'a.b.c' });
  expect(document.documentElement.outerHTML).not.toContain('a.b.c');
});
