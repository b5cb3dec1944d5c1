import type { System } from '../api/types';

/** What has to happen until a PBX is paired, in order. */
export const setupSteps = ['saved', 'sent', 'received', 'typed', 'connected', 'proved'] as const;
export type SetupStep = (typeof setupSteps)[number];
export type StepState = 'done' | 'active' | 'todo' | 'failed';

/** Why it does not go on without somebody. */
export const failures = ['expired', 'declined', 'auth', 'taken', 'proof', 'left'] as const;
export type SetupFailure = (typeof failures)[number];

export interface Progress {
  steps: Record<SetupStep, StepState>;
  /** Only while somebody has to type the token is there one to be shown. */
  wantsToken: boolean;
  failure?: SetupFailure;
  finished: boolean;
}

/** The last step of an offer, as far as it adds to the system's state. */
export type KnownStep = { step: string } | undefined;

/** Where the set-up of a system stands. */
export function progressOf(system: Pick<System, 'state' | 'error_code'>, last: KnownStep): Progress {
  const at = position(system, last);
  const failure = failureOf(system);
  const finished = system.state === 'paired';
  const steps = {} as Record<SetupStep, StepState>;
  setupSteps.forEach((step, i) => {
    if (finished || i < at) steps[step] = 'done';
    else if (i > at) steps[step] = 'todo';
    else steps[step] = failure ? 'failed' : 'active';
  });
  return {
    steps,
    wantsToken: system.state === 'offered' || system.state === 'received',
    ...(failure && { failure }),
    finished,
  };
}

/** Index of the step that is being waited for. */
function position({ state, error_code }: Pick<System, 'state' | 'error_code'>, last: KnownStep): number {
  switch (state) {
    case 'offered':
      // `sent` says that the token waits for the PBX, not that the PBX can be reached.
      return last?.step === 'received' ? 3 : 1;
    case 'received':
      return 3;
    case 'proving':
      return 5;
    case 'paired':
    case 'left':
      return setupSteps.length;
    case 'expired':
    case 'declined':
      return 3;
    case 'error':
      return error_code === 'auth' ? 5 : error_code === 'taken' ? 2 : 3;
  }
}

function failureOf({ state, error_code }: Pick<System, 'state' | 'error_code'>): SetupFailure | undefined {
  if (state === 'error') return error_code ?? 'auth';
  if (state === 'expired' || state === 'declined' || state === 'left') return state;
  return undefined;
}
