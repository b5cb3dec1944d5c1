import type { TFunction } from 'i18next';
import type { Verb } from '../app/meta';

/** What a verb means. A server that is newer than the page may have verbs that the page does not know. */
export function verbText(t: TFunction, verb: Verb): string {
  const key = `organisation.verb.${verb}`;
  return (t as (key: string, options: { defaultValue: string }) => string)(key, { defaultValue: verb });
}
