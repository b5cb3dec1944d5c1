import { createTheme, type MantineThemeOverride } from '@mantine/core';
import type { Meta } from '../api/types';
import { lookOf } from './brand';

const system =
  'system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", "Liberation Sans", Ubuntu, Cantarell, "Helvetica Neue", Arial, sans-serif';

export function themeOf(brand: Meta['brand']): MantineThemeOverride {
  return createTheme({
    colors: { brand: lookOf(brand).colors },
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
      Tooltip: { defaultProps: { openDelay: 400, withArrow: true } },
      Modal: { defaultProps: { centered: true, radius: 'lg', overlayProps: { backgroundOpacity: 0.4, blur: 2 } } },
      Menu: { defaultProps: { shadow: 'md', radius: 'md' } },
    },
  });
}
