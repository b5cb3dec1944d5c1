import { describe, expect, it } from 'vitest';
import { firstPlan, firstWindow, planOf, windowFits } from './plan';

describe('the plan of a rollout', () => {
  it('leaves out what does not count', () => {
    expect(planOf(firstPlan, 'restart')).toEqual({
      rings: [{ count: 1 }, { percent: 10 }, { percent: 100 }],
      parallel: 10,
      pause_minutes: 10,
      max_failures: 0,
      wait_hours: 72,
    });
  });

  it('has the window and the share of failures', () => {
    const window = { from: '22:00', to: '04:00', zone: 'Europe/Berlin' };
    expect(planOf({ ...firstPlan, window, max_percent: 5, restart: true }, 'settings')).toMatchObject({
      window,
      max_percent: 5,
      restart: true,
    });
  });

  it('goes back to an older firmware only where that is wanted', () => {
    expect(planOf({ ...firstPlan, downgrade: true }, 'firmware')).toMatchObject({ downgrade: true });
    expect(planOf({ ...firstPlan, downgrade: true }, 'settings')).not.toHaveProperty('downgrade');
    expect(planOf(firstPlan, 'firmware')).not.toHaveProperty('downgrade');
  });

  it('wants a window with two times', () => {
    expect(windowFits(firstPlan)).toBe(true);
    expect(windowFits({ ...firstPlan, window: firstWindow() })).toBe(true);
    expect(windowFits({ ...firstPlan, window: { ...firstWindow(), to: '22:00' } })).toBe(false);
    expect(windowFits({ ...firstPlan, window: { ...firstWindow(), from: '' } })).toBe(false);
  });
});
