import { useEffect } from 'react';
import { useMeta } from './meta';

/** Names the page in the browser's tab. */
export function useTitle(title: string | undefined): void {
  const { brand } = useMeta();
  useEffect(() => {
    document.title = [title, `${brand.name} Control Center`].filter(Boolean).join(' · ');
  }, [title, brand]);
}
