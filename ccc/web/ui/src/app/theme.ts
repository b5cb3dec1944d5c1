import { createTheme, type MantineColorsTuple, type MantineThemeOverride } from '@mantine/core';
import type { Meta } from '../api/types';
import { lookOf } from './brand';

const system =
  'system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", "Liberation Sans", Ubuntu, Cantarell, "Helvetica Neue", Arial, sans-serif';

// From the text to the darkest ground, a little bluer than the kit's own.
const dark: MantineColorsTuple = [
  '#e6e9ee',
  '#c3cad4',
  '#98a2b1',
  '#7c8694',
  '#333b47',
  '#262c35',
  '#1c2128',
  '#171b21',
  '#12161b',
  '#0f1216',
];

// Dark enough from the sixth on to be read on white, and to have white upon it.
const red: MantineColorsTuple = [
  '#fff3f3',
  '#ffe1e2',
  '#fdc4c5',
  '#fa9ea1',
  '#f58a8d',
  '#e5575c',
  '#c4343a',
  '#b3262c',
  '#991f24',
  '#7f181c',
];

/** The lists of fields to choose from: they scroll themselves, and belong to where they open. */
const choice = {
  comboboxProps: { withinPortal: false },
  withScrollArea: false,
  styles: { options: { maxHeight: 240, overflowY: 'auto' } },
};

export function themeOf(brand: Meta['brand']): MantineThemeOverride {
  return createTheme({
    colors: { brand: lookOf(brand).colors, dark, red },
    primaryColor: 'brand',
    primaryShade: { light: 6, dark: 6 },
    autoContrast: true,
    fontFamily: system,
    fontFamilyMonospace:
      'ui-monospace, SFMono-Regular, Menlo, Consolas, "DejaVu Sans Mono", "Liberation Mono", monospace',
    headings: {
      fontFamily: system,
      fontWeight: '600',
      sizes: { h1: { fontSize: '1.375rem', lineHeight: '1.3' }, h2: { fontSize: '1rem', lineHeight: '1.4' } },
    },
    defaultRadius: 'md',
    cursorType: 'pointer',
    respectReducedMotion: true,
    components: {
      // The colour of the kind of alert is too light for a title on it.
      Alert: { styles: { label: { color: 'var(--mantine-color-text)' } } },
      Tooltip: { defaultProps: { openDelay: 400, withArrow: true } },
      Modal: {
        defaultProps: {
          centered: true,
          radius: 'lg',
          overlayProps: { backgroundOpacity: 0.4, blur: 2 },
          // A header in a dialog would be a second banner of the page.
          attributes: { header: { role: 'none' } },
          styles: { title: { fontWeight: 600 } },
        },
      },
      // In the place where it opens, so that it belongs to a landmark of the page.
      Menu: { defaultProps: { shadow: 'md', radius: 'md', withinPortal: false, withInitialFocusPlaceholder: false } },
      Select: { defaultProps: choice },
      MultiSelect: { defaultProps: choice },
      TagsInput: { defaultProps: choice },
    },
  });
}
