import { useMe } from '../app/meta';

/** What the signed-in person may do about remote access; the server decides, this only hides what it would refuse. */
export function useRemoteRights(): { ask: boolean; read: boolean; list: boolean } {
  const { verbs, some_verbs } = useMe();
  const may = (verb: string) => verbs.includes(verb) || some_verbs.includes(verb);
  return { ask: may('remote.ask'), read: may('remote.read'), list: verbs.includes('remote.read') };
}
