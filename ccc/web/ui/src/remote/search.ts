import { isSerial } from '../serial';
import { finalStates, openStates, type RecordFilter } from './remote';

export const states = ['open', 'over'] as const;

/** The filter in an address of the page. */
export interface RecordsSearch {
  system?: string;
  serial?: string;
  state?: (typeof states)[number];
}

/** Reads the filter in an address. */
export function parseRecordsSearch(search: Record<string, unknown>): RecordsSearch {
  const state = states.find((s) => s === search.state);
  const serial = String(search.serial ?? '').padStart(10, '0');
  return {
    ...(typeof search.system === 'string' && search.system && { system: search.system }),
    ...(search.serial !== undefined && isSerial(serial) && { serial }),
    ...(state && { state }),
  };
}

/** What the server is asked for. */
export function filterOf({ system, serial, state }: RecordsSearch): RecordFilter {
  return {
    ...(system && { system }),
    ...(serial && { serial }),
    ...(state && { state: [...(state === 'open' ? openStates : finalStates)] }),
  };
}
