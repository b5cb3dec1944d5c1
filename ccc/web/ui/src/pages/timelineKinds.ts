const kinds = [
  'offered',
  'received',
  'withdrawn',
  'expired',
  'declined',
  'void',
  'completed',
  'paired',
  'dissolved',
  'replaced',
  'changed',
  'removed',
  'settings_changed',
  'maintenance_set',
  'restarted',
  'rollout_done',
  'rollout_rolled_back',
  'access_granted',
  'access_revoked',
  'break_glass_begun',
  'break_glass_ended',
  'handover_offered',
  'handover_accepted',
  'handover_declined',
  'handover_withdrawn',
] as const;

const reasons = [
  'switched-off',
  'removed',
  'factory-reset',
  'revoked',
  'replaced',
  'unknown-pairing',
  'proof-failed',
  'lost',
  'expired-contact',
] as const;

export const knownKind = (kind: string) => kinds.find((k) => k === kind);

/** Why a pairing ended, as far as the page knows the word. */
export const dissolveReason = (reason: string | undefined) => reasons.find((r) => r === reason);

/** Why a token became void. */
export const voidReason = (error: string | undefined) => (['proof', 'taken'] as const).find((e) => e === error);

export function toneOf(kind: string): 'good' | 'bad' | 'plain' {
  if (kind === 'paired') return 'good';
  return ['expired', 'declined', 'void', 'dissolved'].includes(kind) ? 'bad' : 'plain';
}
