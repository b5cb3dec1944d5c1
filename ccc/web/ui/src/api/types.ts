import type { components } from './generated/schema';

type Schemas = components['schemas'];

export type Webhook = Schemas['Webhook'];
export type NewWebhook = Schemas['NewWebhook'];
export type WebhookDelivery = Schemas['WebhookDelivery'];
export type System = Schemas['System'];
export type SystemState = System['state'];
export type Offer = Schemas['Offer'];
export type OfferStep = Schemas['OfferStep'];
export type Presence = Schemas['Presence'];
export type Summary = Schemas['Summary'];
export type Removed = Schemas['Removed'];
export type HistoryInterval = Schemas['HistoryInterval'];
export type ImportReport = Schemas['ImportReport'];
export type ImportLine = Schemas['ImportLine'];
export type ImportSummary = Schemas['ImportSummary'];
export type ImportEvent = Schemas['ImportEvent'];
export type Sheet = Schemas['Sheet'];
export type SavedFilter = Schemas['Filter'];
export type SystemEvent = Schemas['Event'];
export type AuditEntry = Schemas['AuditEntry'];
export type Group = Schemas['Group'];
export type Me = Schemas['Me'];
export type Meta = Schemas['Meta'];
export type Factors = Schemas['Factors'];
export type SessionInfo = Schemas['SessionInfo'];
export type Passkey = Schemas['Passkey'];
export type ProviderLink = Schemas['ProviderLink'];
export type APIToken = Schemas['APIToken'];
export type Invitation = Schemas['Invitation'];
export type TenantAccess = Schemas['TenantAccess'];
export type KnownTenant = Schemas['KnownTenant'];
export type Person = Schemas['Person'];
export type RoleGrant = Schemas['RoleGrant'];
export type RoleInfo = Schemas['RoleInfo'];
export type TenantGrant = Schemas['TenantGrant'];
export type BreakGlass = Schemas['BreakGlass'];
export type Handover = Schemas['Handover'];
export type Site = Schemas['Site'];
export type SystemChange = Schemas['SystemChange'];
export type Problem = Schemas['Problem'];
export type FieldError = Schemas['FieldError'];
export type RemoteSession = Schemas['RemoteSession'];
export type RemoteTicket = Schemas['RemoteTicket'];
export type RemoteChange = Schemas['RemoteChange'];
export type AccessStatistics = Schemas['AccessStatistics'];
export type ServerStatistics = Schemas['ServerStatistics'];
export type Language = Me['user']['language'];

/** What the stream of live events carries; its fields event and data. */
export type LiveEvent =
  | { event: 'system'; data: System }
  | { event: 'removed'; data: Removed }
  | { event: 'presence'; data: Presence }
  | { event: 'offer'; data: OfferStep }
  | { event: 'remote'; data: RemoteChange }
  | { event: 'rollout'; data: Record<string, never> }
  | { event: 'summary'; data: Summary }
  | { event: 'reset'; data: Record<string, never> };
