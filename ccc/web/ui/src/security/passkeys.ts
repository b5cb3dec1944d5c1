import { api, ask } from '../api/client';
import type { Me } from '../api/types';

/** Whether the browser has what passkeys need here. */
export const passkeysPossible =
  typeof PublicKeyCredential === 'function' &&
  typeof PublicKeyCredential.parseCreationOptionsFromJSON === 'function' &&
  typeof PublicKeyCredential.parseRequestOptionsFromJSON === 'function';

/** The browser gave no passkey: the person has cancelled, or there is none. */
export class NoPasskey extends Error {
  override readonly name = 'NoPasskey';
}

async function credential(get: () => Promise<Credential | null>): Promise<Record<string, unknown>> {
  let made: Credential | null;
  try {
    made = await get();
  } catch {
    throw new NoPasskey();
  }
  if (!(made instanceof PublicKeyCredential)) throw new NoPasskey();
  return made.toJSON() as Record<string, unknown>;
}

/** Has the browser make a passkey, and adds it. */
export async function addPasskey(name: string) {
  const { publicKey } = await ask(api.POST('/account/passkeys/options'));
  const options = PublicKeyCredential.parseCreationOptionsFromJSON(
    publicKey as unknown as PublicKeyCredentialCreationOptionsJSON,
  );
  const made = await credential(() => navigator.credentials.create({ publicKey: options }));
  return await ask(api.POST('/account/passkeys', { body: { name, credential: made } }));
}

/** Signs in with a passkey: it stands for password and second factor. */
export async function signInByPasskey(): Promise<Me> {
  const { publicKey } = await ask(api.POST('/session/passkey/options'));
  const options = PublicKeyCredential.parseRequestOptionsFromJSON(
    publicKey as unknown as PublicKeyCredentialRequestOptionsJSON,
  );
  const proof = await credential(() => navigator.credentials.get({ publicKey: options }));
  return await ask(api.POST('/session/passkey', { body: { credential: proof } }));
}
