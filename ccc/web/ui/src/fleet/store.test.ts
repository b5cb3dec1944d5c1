// @vitest-environment jsdom
import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import type { System } from '../api/types';
import { changeSystem, fleet } from './store';
import { testSystem } from './testing';

const before = testSystem({ id: 'a', name: 'Alt', version: 3 });
let answers: (() => Response)[];
let requests: Request[];
const json = (status: number, body: unknown) => () => new Response(JSON.stringify(body), { status });
const shownName = () => fleet.get('a')?.name;

beforeEach(() => {
  fleet.put(before);
  [answers, requests] = [[], []];
  vi.stubGlobal('fetch', async (request: Request) => {
    requests.push(request);
    return answers.shift()?.();
  });
});

afterEach(() => {
  fleet.stop();
  vi.unstubAllGlobals();
});

it('shows a change at once, and then what the server made of it', async () => {
  const made: System = { ...before, name: 'Neu!', version: 4 };
  answers = [json(200, made)];
  const done = changeSystem(before, { name: 'Neu' }, { name: 'Neu' });
  expect(shownName()).toBe('Neu');
  await done;
  expect(fleet.get('a')).toEqual(made);
  expect(requests[0]?.headers.get('If-Match')).toBe('"3"');
});

it('shows the newer state where somebody else was faster', async () => {
  const theirs: System = { ...before, name: 'Ihrer', version: 4 };
  answers = [json(412, { code: 'version' }), json(200, theirs)];
  await expect(changeSystem(before, { name: 'Neu' }, { name: 'Neu' })).rejects.toMatchObject({ code: 'version' });
  expect(fleet.get('a')).toEqual(theirs);
  expect(requests.map((r) => r.method)).toEqual(['PATCH', 'GET']);
});

it('goes back where the server cannot', async () => {
  answers = [json(503, { code: 'unavailable' })];
  await expect(changeSystem(before, { name: 'Neu' }, { name: 'Neu' })).rejects.toMatchObject({ code: 'unavailable' });
  expect(shownName()).toBe('Alt');
});

it('does not go back over an event that came meanwhile', async () => {
  answers = [
    () => {
      fleet.put({ ...before, name: 'Ereignis', version: 5 });
      return json(503, { code: 'unavailable' })();
    },
  ];
  await expect(changeSystem(before, { name: 'Neu' }, { name: 'Neu' })).rejects.toThrow();
  expect(shownName()).toBe('Ereignis');
});
