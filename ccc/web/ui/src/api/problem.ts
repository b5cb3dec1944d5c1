import type { FieldError, Problem } from './types';

/** Codes of problems: the server's, and two for what never got an answer of the server. */
export type ProblemCode = Problem['code'] | 'network' | 'unreadable';

/** An answer that is not 2xx, or none at all. */
export class ApiError extends Error {
  override readonly name = 'ApiError';

  constructor(
    readonly code: ProblemCode,
    readonly status = 0,
    readonly fields: readonly FieldError[] = [],
    /** Seconds after which the server wants to be asked again. */
    readonly retryAfter?: number,
  ) {
    super(code);
  }
}

/** Makes the error of an answer; body is what the answer's JSON says, if it is any. */
export function errorOf(response: Response, body: unknown): ApiError {
  const retry = Number(response.headers.get('Retry-After'));
  const retryAfter = Number.isFinite(retry) && retry > 0 ? retry : undefined;
  const problem = (typeof body === 'object' && body !== null ? body : {}) as Partial<Problem>;
  if (typeof problem.code !== 'string') {
    return new ApiError('unreadable', response.status, [], retryAfter);
  }
  return new ApiError(problem.code, response.status, problem.errors ?? [], retryAfter);
}

/** Makes an ApiError of whatever was thrown. */
export function asApiError(thrown: unknown): ApiError {
  if (thrown instanceof ApiError) return thrown;
  return new ApiError(thrown instanceof TypeError ? 'network' : 'unreadable');
}

/** The error of one field of the body, if the server found one there. */
export function fieldError(error: ApiError, field: string): FieldError | undefined {
  return error.fields.find((f) => f.location === `body.${field}` || f.location.startsWith(`body.${field}[`));
}
