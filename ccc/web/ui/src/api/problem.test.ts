import { describe, expect, it } from 'vitest';
import { ApiError, asApiError, errorOf, fieldError } from './problem';

const response = (status: number, headers = {}) => new Response(null, { status, headers });

describe('errorOf', () => {
  it('takes code, fields and wait of a problem', () => {
    const errors = [{ location: 'body.serial', code: 'pattern', message: '' }];
    const error = errorOf(response(429, { 'Retry-After': '7' }), { code: 'quota_offers', errors });
    expect(error).toMatchObject({ code: 'quota_offers', status: 429, retryAfter: 7 });
    expect(fieldError(error, 'serial')?.code).toBe('pattern');
    expect(fieldError(error, 'name')).toBeUndefined();
  });
  it.each([[undefined], ['<html>'], [null], [{}], [{ code: 5 }]])('makes something of %j', (body) => {
    expect(errorOf(response(502), body)).toMatchObject({ code: 'unreadable', status: 502 });
  });
  it('takes no date for a wait', () => {
    expect(errorOf(response(503, { 'Retry-After': 'Sun, 01 Mar 2026 00:00:00 GMT' }), {}).retryAfter).toBeUndefined();
  });
});

it('finds the elements of lists', () => {
  const error = new ApiError('invalid', 422, [{ location: 'body.tags[3]', code: 'too_long', message: '' }]);
  expect(fieldError(error, 'tags')?.code).toBe('too_long');
  expect(fieldError(error, 'tag')).toBeUndefined();
});

it('tells a lost connection from a fault', () => {
  expect(asApiError(new TypeError('Failed to fetch')).code).toBe('network');
  expect(asApiError(new SyntaxError('JSON')).code).toBe('unreadable');
});
