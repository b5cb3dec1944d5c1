import { Checkbox, NumberInput, Select, TextInput } from '@mantine/core';
import { useMemo } from 'react';
import { useText } from '../i18n';
import { firstWindow, ownZone, type Plan, type Window, windowFits } from './plan';
import type { Rollout } from './queries';
import classes from './Rollout.module.css';

type NumberField = Exclude<keyof Plan, 'restart' | 'downgrade' | 'window'>;

/** Rings, limits and the time of the day. */
export function PlanFields({
  plan,
  kind,
  onChange,
}: {
  plan: Plan;
  kind: Rollout['kind'];
  onChange(plan: Plan): void;
}) {
  const { t } = useText();
  const number = (field: NumberField, min: number, max: number, description?: string) => (
    <NumberInput
      label={t(`rollout.plan.${field}`)}
      description={description}
      min={min}
      max={max}
      clampBehavior="strict"
      allowDecimal={false}
      inputWrapperOrder={['label', 'input', 'description', 'error']}
      value={plan[field]}
      onChange={(value) => onChange({ ...plan, [field]: Number(value) || min })}
    />
  );
  return (
    <>
      <div className={classes.settings}>
        {number('first', 1, 10_000)}
        {number('percent', 1, 100)}
        {number('parallel', 1, 64)}
        {number('pause_minutes', 0, 10_080)}
        {number('max_failures', 0, 10_000)}
        {number('max_percent', 0, 100, t('rollout.plan.max_percentHint'))}
        {number('wait_hours', 1, 720)}
      </div>
      {kind === 'settings' && (
        <Checkbox
          mt="md"
          label={t('rollout.plan.restart')}
          checked={plan.restart}
          onChange={(e) => onChange({ ...plan, restart: e.currentTarget.checked })}
        />
      )}
      {kind === 'firmware' && (
        <Checkbox
          mt="md"
          label={t('firmware.downgrade')}
          checked={plan.downgrade}
          onChange={(e) => onChange({ ...plan, downgrade: e.currentTarget.checked })}
        />
      )}
      <Checkbox
        mt="md"
        label={t('rollout.plan.window.use')}
        checked={plan.window !== undefined}
        onChange={(e) => onChange({ ...plan, window: e.currentTarget.checked ? firstWindow() : undefined })}
      />
      {plan.window && (
        <WindowFields
          window={plan.window}
          fits={windowFits(plan)}
          onChange={(window) => onChange({ ...plan, window })}
        />
      )}
    </>
  );
}

function WindowFields({ window, fits, onChange }: { window: Window; fits: boolean; onChange(window: Window): void }) {
  const { t } = useText();
  const zones = useMemo(() => [...new Set([ownZone(), 'UTC', ...Intl.supportedValuesOf('timeZone')])], []);
  return (
    <div className={classes.window}>
      <TextInput
        type="time"
        label={t('rollout.plan.window.from')}
        required
        value={window.from}
        onChange={(e) => onChange({ ...window, from: e.currentTarget.value })}
      />
      <TextInput
        type="time"
        label={t('rollout.plan.window.to')}
        required
        value={window.to}
        error={window.from !== '' && !fits && window.to !== '' ? t('rollout.plan.window.equal') : undefined}
        onChange={(e) => onChange({ ...window, to: e.currentTarget.value })}
      />
      <Select
        label={t('rollout.plan.window.zone')}
        searchable
        allowDeselect={false}
        limit={100}
        data={zones}
        value={window.zone}
        nothingFoundMessage={t('filter.none')}
        onChange={(zone) => zone && onChange({ ...window, zone })}
      />
    </div>
  );
}
