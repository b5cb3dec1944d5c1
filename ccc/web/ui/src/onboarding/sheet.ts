import { api, apiBase, call, sessionEnded } from '../api/client';
import { asApiError, errorOf } from '../api/problem';
import { tenantHeaders } from '../api/tenant';
import type { Sheet } from '../api/types';
import { fleet } from '../fleet/store';
import type { Text } from '../i18n';
import { saveFile } from './list';

let chosen: readonly string[] | undefined;

/** Sets which systems the next sheet is for; it is forgotten with the document. */
export function chooseForSheet(ids: readonly string[]): void {
  chosen = ids;
}

/** How many systems the server puts on one sheet. */
const most = 500;

/** The systems that a sheet is for: those that were chosen, or all that wait for a token. */
export function forSheet(): string[] {
  const waiting = () =>
    [...fleet.all()].filter((s) => s.state === 'offered' || s.state === 'received').map((s) => s.id);
  return [...(chosen ?? waiting())].slice(0, most);
}

/** Gets the tokens. That is noted, and so not to be done again by itself. */
export function getSheet(ids: string[]): Promise<Sheet> {
  return call(api.POST('/onboarding/sheet', { body: { system_ids: ids } }));
}

/** Gives the browser the sheet as a PDF to save. */
export async function savePDF(ids: readonly string[], language: Text['language']): Promise<void> {
  let response: Response;
  try {
    response = await fetch(`${apiBase}/onboarding/sheet.pdf`, {
      method: 'POST',
      headers: { ...tenantHeaders, 'Content-Type': 'application/json' },
      body: JSON.stringify({
        system_ids: ids.slice(0, most),
        language,
        time_zone: Intl.DateTimeFormat().resolvedOptions().timeZone,
      }),
    });
  } catch (thrown) {
    throw asApiError(thrown);
  }
  if (!response.ok) {
    const error = errorOf(response, await response.json().catch(() => undefined));
    if (error.code === 'unauthenticated') sessionEnded();
    throw error;
  }
  saveFile(`tokens-${new Date().toISOString().slice(0, 10)}.pdf`, await response.blob());
}
