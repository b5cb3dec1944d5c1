import { describe, expect, it } from 'vitest';
import type { Site, System } from '../api/types';
import { clusters, degrees, placesOf, worst } from './sites';
import { bounded, fitted, placeAt, pointOf, world, zoomed } from './view';

const size = { width: 800, height: 500 };
const hamburg = { id: 'h', name: 'Hamburg', latitude: 53.55, longitude: 9.99 };
const altona = { id: 'i', name: 'Altona', latitude: 53.549, longitude: 9.935 };
const paris = { id: 'p', name: 'Paris', latitude: 48.86, longitude: 2.35 };
const nowhere = { id: 'n', name: 'Nowhere' };

function system(id: string, site_id: string, change: Partial<System>): System {
  return { id, site_id, name: id, state: 'paired', online: true, ...change } as System;
}

describe('sites', () => {
  const places = placesOf([hamburg, altona, paris, nowhere] satisfies Site[], [
    system('a', 'h', {}),
    system('b', 'h', { online: false }),
    system('c', 'p', {}),
    system('d', 'i', { online: false, quarantined: true }),
    system('e', '', { online: false }),
  ]);

  it('are as the worst of their systems, the worst first', () => {
    expect(places.map((p) => [p.site.name, p.state, p.away.length])).toEqual([
      ['Altona', 'attention', 1],
      ['Hamburg', 'offline', 1],
      ['Paris', 'online', 0],
      ['Nowhere', 'empty', 0],
    ]);
    expect(worst([])).toBe('empty');
  });

  it('are one where they are too close, and more when one comes closer', () => {
    const far = fitted(
      places.flatMap((p) => p.at ?? []).length ? places.flatMap((p) => (p.at ? [p.at] : [])) : [],
      size,
    );
    const seen = clusters(places, far);
    expect(seen.map((c) => [c.places.length, c.state])).toEqual([
      [2, 'attention'],
      [1, 'online'],
    ]);
    const near = fitted([pointOf(9.99, 53.55), pointOf(9.935, 53.549)], size);
    expect(clusters(places, { ...near, k: near.k * 100, x: 0, y: 0 })).toHaveLength(3);
  });

  it('have degrees as people type them', () => {
    expect(degrees(' 52,2689 ', 90)).toBe(52.2689);
    expect(degrees('-10.5', 180)).toBe(-10.5);
    for (const wrong of ['', '91', 'x', '1e1', '12.', '1,2,3']) expect(degrees(wrong, 90)).toBeUndefined();
  });
});

describe('the view', () => {
  it('finds the place of the earth that was clicked', () => {
    const view = fitted([pointOf(9.99, 53.55)], size);
    const found = placeAt(view, [400, 250]);
    expect(found.longitude).toBeCloseTo(9.99, 3);
    expect(found.latitude).toBeCloseTo(53.55, 3);
  });

  it('keeps what is below the pointer where it is', () => {
    const before = fitted([], size);
    const after = zoomed(before, 3, [100, 400], size);
    const [a, b] = [placeAt(before, [100, 400]), placeAt(after, [100, 400])];
    expect(b.longitude).toBeCloseTo(a.longitude, 3);
    expect(b.latitude).toBeCloseTo(a.latitude, 3);
  });

  it('cannot be lost', () => {
    expect(bounded({ k: 0.001, x: 9e9, y: -9e9 }, size).k).toBe(0.8);
    const view = bounded({ k: 2, x: 9e9, y: -9e9 }, size);
    expect(view.x).toBe(400);
    expect(view.y).toBe(250 - 2 * world);
  });
});
