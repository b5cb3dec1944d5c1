import type { TFunction } from 'i18next';
import type { AuditEntry } from '../api/types';
import texts from '../i18n/en/audit.json';

const groups = ['event', 'remote', 'oidc', 'cli'] as const;

/** What was done, in words of the language; the id of what is too new for these pages. */
export function operationText(t: TFunction, operation: string): string {
  const [group, name] = operation.split('.');
  const known = groups.find((g) => g === group);
  if (known && name && has(texts[known], name)) return t(`audit.${known}.${name}` as 'audit.event.paired');
  if (has(texts.operation, operation)) return t(`audit.operation.${operation}` as 'audit.operation.signIn');
  return operation;
}

function has(of: object, name: string): boolean {
  return Object.hasOwn(of, name);
}

/** All operations that have a text. */
export const operations: readonly string[] = [
  ...Object.keys(texts.operation),
  ...groups.flatMap((g) => Object.keys(texts[g]).map((name) => `${g}.${name}`)),
];

/** Who it was, by the name of now. */
export function actorText(t: TFunction, e: AuditEntry): string {
  const name = e.user && (e.user.name || t('audit.deleted'));
  switch (e.actor.kind) {
    case 'user':
      return name || t('audit.deleted');
    case 'token':
      return `${name || t('audit.deleted')} · ${t('audit.actor.token')}`;
    case 'provider':
      return `${e.actor.name || e.actor.id || ''} · ${t('audit.actor.provider')}`;
    case 'device':
      return `${t('audit.actor.device')} ${e.actor.id ?? ''}`;
    case 'ccc':
      return t('audit.actor.ccc');
    default:
      return t('audit.actor.nobody');
  }
}

const kinds = ['system', 'user', 'site', 'group'] as const;

/** What it was done to; empty where that says nothing. */
export function resourceText(t: TFunction, e: AuditEntry): string {
  if (!e.resource) return '';
  if (e.resource.name) return e.resource.name;
  const kind = kinds.find((k) => k === e.resource?.kind);
  return kind ? t(`audit.resource.${kind}`) : '';
}
