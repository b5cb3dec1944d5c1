import type { TFunction } from 'i18next';
import { useText } from '../i18n';
import type { Rollout, RolloutDevice } from './queries';
import classes from './Rollout.module.css';

const tones: Record<Rollout['state'], string> = {
  checking: 'wait',
  ready: 'wait',
  running: 'on',
  paused: 'wait',
  halted: 'bad',
  stopped: 'off',
  done: 'on',
  reverting: 'wait',
  reverted: 'off',
};

export function RolloutState({ rollout }: { rollout: Rollout }) {
  const { t } = useText();
  return (
    <>
      <span className={classes.state} data-tone={tones[rollout.state]}>
        {t(`rollout.state.${rollout.state}`)}
      </span>
      {rollout.reason && <small>{t(`rollout.reason.${rollout.reason}`)}</small>}
    </>
  );
}

const deviceTones: Record<RolloutDevice['state'], string> = {
  pending: 'off',
  running: 'wait',
  offline: 'wait',
  done: 'on',
  unchanged: 'on',
  conflict: 'bad',
  refused: 'bad',
  failed: 'bad',
  rolled_back: 'off',
};

const codes = [
  'not_paired',
  'no_right',
  'changed',
  'unreachable',
  'answer',
  'verify',
  'not_returned',
  'invalid',
  'unsupported',
  'switched_off',
  'backup',
  'model',
  'downgrade',
  'min_version',
  'maintenance',
  'signature',
  'install',
  'version',
  'image',
  'too_large',
  'busy',
] as const;

/** Why a system failed, was refused or is a conflict; codes of PBXs that the page does not know are shown as they are. */
export function codeText(t: TFunction, device: RolloutDevice): string {
  const known = codes.find((code) => code === device.code);
  const text = known ? t(`rollout.code.${known}`) : (device.code ?? '');
  return device.detail ? `${text} (${device.detail.replaceAll(',', ', ')})` : text;
}

export function DeviceState({ device }: { device: RolloutDevice }) {
  const { t } = useText();
  return (
    <>
      <span className={classes.state} data-tone={deviceTones[device.state]}>
        {t(`rollout.device.${device.state}`)}
      </span>
      {device.code && <small>{codeText(t, device)}</small>}
    </>
  );
}
