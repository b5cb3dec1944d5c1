import type { MantineColorsTuple } from '@mantine/core';
import type { Meta } from '../api/types';

/** What the pages look like under a brand; name and legal text come from the server. */
export interface Look {
  /** Ten shades from light to dark, for buttons, links and the mark. */
  colors: MantineColorsTuple;
}

const looks: Record<string, Look> = {
  auerswald: {
    colors: [
      '#eef5fc',
      '#d9e8f7',
      '#b1cfee',
      '#85b4e4',
      '#5f9cdb',
      '#458cd5',
      '#1c5ea8',
      '#174f8e',
      '#134176',
      '#0d315c',
    ],
  },
  fontevo: {
    colors: [
      '#e9f8f6',
      '#d3eeea',
      '#a6dcd5',
      '#74c9be',
      '#4dbaac',
      '#2e9f91',
      '#0c7468',
      '#0a6156',
      '#084f47',
      '#063b35',
    ],
  },
};

const neutral: Look = {
  colors: [
    '#f1f4f8',
    '#e1e6ed',
    '#c0cad8',
    '#9cadc2',
    '#7d93af',
    '#6984a4',
    '#44607f',
    '#395169',
    '#2e4257',
    '#213243',
  ],
};

export function lookOf(brand: Meta['brand']): Look {
  return looks[brand.id] ?? neutral;
}
