import type { System } from '../api/types';
import { useText } from '../i18n';
import { milliseconds } from '../time/format';

/** By which way a system is connected, and how far away it is. */
export function Transport({ system }: { system: System }) {
  const { language } = useText();
  if (!system.online || !system.transport) return null;
  const name = { quic: 'QUIC', tcp: 'TCP' }[system.transport];
  return (
    <span className="tabular">
      {name}
      {system.rtt_ms !== undefined && ` · ${milliseconds(system.rtt_ms, language)}`}
    </span>
  );
}
