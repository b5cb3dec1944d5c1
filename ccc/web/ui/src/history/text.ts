import type { HistoryInterval } from '../api/types';
import { useText } from '../i18n';

/** What an interval was, in words. */
export function useIntervalText(): (item: HistoryInterval) => string {
  const { t } = useText();
  return (item) => {
    const state = t(`history.state.${item.state}`);
    if (item.state === 'flapping') return `${state}: ${t('history.changes', { count: item.changes ?? 0 })}`;
    return item.reason && item.state !== 'online' ? `${state}: ${t(`history.reason.${item.reason}`)}` : state;
  };
}

/** The transport and the relay of an interval. */
export function wayText(item: HistoryInterval): string {
  const transport = item.transport && { quic: 'QUIC', tcp: 'TCP' }[item.transport];
  return [transport, item.relay?.replace(/^relay\//, '')].filter(Boolean).join(' · ');
}
