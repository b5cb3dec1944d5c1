export const kinds = ['settings', 'restart', 'firmware'] as const;

/** What a new rollout begins with. */
export interface NewRolloutSearch {
  kind?: (typeof kinds)[number];
  /** Id of an image of firmware. */
  firmware?: string;
  /** Id of the one system that it is for. */
  system?: string;
}

export function parseNewRolloutSearch(search: Record<string, unknown>): NewRolloutSearch {
  const kind = kinds.find((k) => k === search.kind);
  const id = (name: 'firmware' | 'system') => {
    const value = search[name];
    return typeof value === 'string' && /^[\w-]{1,64}$/.test(value) ? { [name]: value } : {};
  };
  return { ...(kind && { kind }), ...id('firmware'), ...id('system') };
}
