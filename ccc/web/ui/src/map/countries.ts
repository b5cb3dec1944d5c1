import { queryOptions } from '@tanstack/react-query';
import { geoPath } from 'd3-geo';
import { feature } from 'topojson-client';
import type { GeometryCollection, Topology } from 'topojson-specification';
// Natural Earth, 1:50 million, in the public domain; as a file of this site.
import url from 'world-atlas/countries-50m.json?url';
import { projection } from './view';

/** A country's outline in the world of the map, and the box around it. */
export interface Country {
  id: string;
  path: string;
  left: number;
  right: number;
  top: number;
  bottom: number;
}

export const countriesQuery = queryOptions({
  queryKey: ['countries'],
  queryFn: async ({ signal }): Promise<Country[]> => {
    const answer = await fetch(url, { signal });
    if (!answer.ok) throw new Error(`status ${answer.status}`);
    const topology = (await answer.json()) as Topology<{ countries: GeometryCollection }>;
    const path = geoPath(projection).digits(2);
    return feature(topology, topology.objects.countries).features.flatMap((f, i) => {
      const [[left, top], [right, bottom]] = path.bounds(f);
      const d = path(f);
      return d ? [{ id: `${f.id ?? ''} ${i}`, path: d, left, right, top, bottom }] : [];
    });
  },
  staleTime: Number.POSITIVE_INFINITY,
  gcTime: Number.POSITIVE_INFINITY,
});
