import type { SystemEvent } from '../api/types';

const reasons = ['rejected', 'reported', 'tries', 'expired'] as const;

/** Why a PBX gave a token back; `other` is a word that these pages do not know. */
export type Reason = { reason: (typeof reasons)[number] } | { reason: 'other'; word: string };

export function reasonOf(word: string | undefined): Reason | undefined {
  if (!word) return undefined;
  const reason = reasons.find((r) => r === word);
  return reason ? { reason } : { reason: 'other', word };
}

/** The reason in the newest event of a kind, if it has one. */
export function reasonIn(events: readonly SystemEvent[], kind: string): Reason | undefined {
  return reasonOf(events.find((e) => e.kind === kind)?.detail.reason);
}
