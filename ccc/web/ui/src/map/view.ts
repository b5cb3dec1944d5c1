import { geoMercator } from 'd3-geo';

/** The whole world is so many units wide and high. */
export const world = 1000;

/** Mercator, which keeps angles: people know it from other maps (EPSG:3857 without its size). */
export const projection = geoMercator()
  .scale(world / (2 * Math.PI))
  .translate([world / 2, world / 2]);

export type Point = readonly [x: number, y: number];

/** What of the world is seen: a place of it is at scale * place + offset, in pixels. */
export interface View {
  k: number;
  x: number;
  y: number;
}

export interface Size {
  width: number;
  height: number;
}

const most = 400;

/** Keeps the scale within bounds, and some of the world in sight. */
export function bounded(view: View, size: Size): View {
  const k = Math.min(most, Math.max(size.width / world, size.height / world, 0.1, view.k));
  const within = (offset: number, room: number) => Math.min(room * 0.5, Math.max(room * 0.5 - world * k, offset));
  return { k, x: within(view.x, size.width), y: within(view.y, size.height) };
}

/** Changes the scale so that what is at a place of the window stays there. */
export function zoomed(view: View, by: number, at: Point, size: Size): View {
  const k = Math.min(most, Math.max(size.width / world, size.height / world, view.k * by));
  const factor = k / view.k;
  return bounded({ k, x: at[0] - (at[0] - view.x) * factor, y: at[1] - (at[1] - view.y) * factor }, size);
}

export function moved(view: View, by: Point, size: Size): View {
  return bounded({ ...view, x: view.x + by[0], y: view.y + by[1] }, size);
}

/** The view in which some places fill the window; without any, that of Europe. */
export function fitted(places: readonly Point[], size: Size): View {
  const shown = places.length > 0 ? places : europe;
  const xs = shown.map((p) => p[0]);
  const ys = shown.map((p) => p[1]);
  const [left, right, top, bottom] = [Math.min(...xs), Math.max(...xs), Math.min(...ys), Math.max(...ys)];
  // One place is shown with what is some hundred kilometres around it.
  const k = Math.min((size.width * 0.8) / Math.max(right - left, 16), (size.height * 0.8) / Math.max(bottom - top, 16));
  return bounded(
    { k, x: size.width / 2 - (k * (left + right)) / 2, y: size.height / 2 - (k * (top + bottom)) / 2 },
    size,
  );
}

/** Where a place of the earth is in the world of the map. */
export function pointOf(longitude: number, latitude: number): Point {
  // Towards the poles the map has no end.
  return projection([longitude, Math.min(85, Math.max(-85, latitude))]) ?? [world / 2, world / 2];
}

/** The place of the earth that is at a place of the window, to a metre or so. */
export function placeAt(view: View, at: Point): { longitude: number; latitude: number } {
  const [longitude, latitude] = projection.invert?.([(at[0] - view.x) / view.k, (at[1] - view.y) / view.k]) ?? [0, 0];
  const rounded = (v: number) => Math.round(v * 1e5) / 1e5;
  return { longitude: rounded(((((longitude + 180) % 360) + 360) % 360) - 180), latitude: rounded(latitude) };
}

const europe = [pointOf(-10, 36), pointOf(28, 60)];
