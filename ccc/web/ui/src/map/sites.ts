import type { Site, System } from '../api/types';
import { type Kind, kindOfStatus, statusOf } from '../fleet/status';
import { type Point, pointOf, type View } from './view';

/** How a site is: as the worst of its systems. */
export type SiteState = Kind | 'empty';

/** The states, the worst first. */
const states: readonly SiteState[] = ['attention', 'offline', 'setup', 'online', 'empty'];

export function worst(all: readonly SiteState[]): SiteState {
  return states.find((s) => all.includes(s)) ?? 'empty';
}

/** A site with what is there. */
export interface Place {
  site: Site;
  state: SiteState;
  systems: System[];
  /** Those that are not online. */
  away: System[];
  /** Where it is in the world of the map; null: nobody has said. */
  at: Point | null;
}

/** Puts systems at their sites: the worst sites first, otherwise as they come. */
export function placesOf(sites: readonly Site[], systems: Iterable<System>): Place[] {
  const there = new Map<string, System[]>(sites.map((s) => [s.id, []]));
  for (const system of systems) if (system.site_id) there.get(system.site_id)?.push(system);
  return sites
    .map((site): Place => {
      const all = there.get(site.id) ?? [];
      const kinds = all.map((s) => kindOfStatus(statusOf(s)));
      const { latitude, longitude } = site;
      return {
        site,
        state: worst(kinds),
        systems: all,
        away: all.filter((_, i) => kinds[i] === 'offline' || kinds[i] === 'attention'),
        at: latitude !== undefined && longitude !== undefined ? pointOf(longitude, latitude) : null,
      };
    })
    .sort((a, b) => states.indexOf(a.state) - states.indexOf(b.state));
}

/** Sites that are too close to one another to be told apart. */
export interface Cluster {
  places: Place[];
  state: SiteState;
  /** In pixels of the window. */
  at: Point;
}

/** How close, in pixels. */
const reach = 30;

/** Gathers places as a view shows them. The order of the places does not matter. */
export function clusters(places: readonly Place[], view: View): Cluster[] {
  const found: { places: Place[]; x: number; y: number }[] = [];
  const ordered = places.filter((p) => p.at !== null).sort((a, b) => (a.site.id < b.site.id ? -1 : 1));
  for (const place of ordered) {
    const [wx, wy] = place.at as Point;
    const [x, y] = [wx * view.k + view.x, wy * view.k + view.y];
    const near = found.find((c) => Math.hypot(c.x - x, c.y - y) < reach);
    if (near) {
      const n = near.places.push(place);
      near.x += (x - near.x) / n;
      near.y += (y - near.y) / n;
    } else {
      found.push({ places: [place], x, y });
    }
  }
  return found.map(({ places: all, x, y }) => ({ places: all, state: worst(all.map((p) => p.state)), at: [x, y] }));
}

/** Reads degrees as people type them, with a point or a comma; undefined: they are none. */
export function degrees(text: string, most: number): number | undefined {
  const trimmed = text.trim().replace(',', '.');
  const value = Number(trimmed);
  return /^-?\d{1,3}(\.\d+)?$/.test(trimmed) && Math.abs(value) <= most ? value : undefined;
}
