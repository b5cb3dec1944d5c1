import { describe, expect, it } from 'vitest';
import type { System } from '../api/types';
import { progressOf, setupSteps } from './progress';

const letters = { done: 'd', active: 'a', todo: '.', failed: 'x' };
const line = (state: System['state'], step?: string, error_code?: 'auth' | 'taken' | 'proof') => {
  const progress = progressOf({ state, ...(error_code && { error_code }) }, step ? { step } : undefined);
  return setupSteps.map((s) => letters[progress.steps[s]]).join('');
};

describe('progressOf', () => {
  it.each([
    ['offered', undefined, undefined, 'da....'],
    ['offered', 'sent', undefined, 'da....'],
    ['offered', 'received', undefined, 'ddda..'],
    ['received', 'received', undefined, 'ddda..'],
    ['proving', 'completed', undefined, 'ddddda'],
    ['paired', 'proved', undefined, 'dddddd'],
    ['expired', undefined, undefined, 'dddx..'],
    ['declined', 'declined', undefined, 'dddx..'],
    ['error', 'failed', 'proof', 'dddx..'],
    ['error', 'failed', 'taken', 'ddx...'],
    ['error', 'failed', 'auth', 'dddddx'],
    // A step of the offer before must not hide that there is a new one.
    ['offered', 'expired', undefined, 'da....'],
    ['offered', 'declined', undefined, 'da....'],
  ] as const)('%s after %s (%s)', (state, step, code, want) => expect(line(state, step, code)).toBe(want));

  it('shows the token only as long as it can be typed', () => {
    const shown = (
      ['offered', 'received', 'proving', 'paired', 'left', 'expired', 'declined', 'error'] as const
    ).filter((state) => progressOf({ state }, undefined).wantsToken);
    expect(shown).toEqual(['offered', 'received']);
  });

  it('names the failure', () => {
    expect(progressOf({ state: 'error', error_code: 'taken' }, undefined).failure).toBe('taken');
    expect(progressOf({ state: 'left' }, undefined).failure).toBe('left');
    expect(progressOf({ state: 'received' }, undefined).failure).toBeUndefined();
  });
});
