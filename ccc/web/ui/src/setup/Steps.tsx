import { IconCheck, IconX } from '@tabler/icons-react';
import { useText } from '../i18n';
import { type Progress, setupSteps } from './progress';
import classes from './Steps.module.css';

/** The steps of a set-up as they happen. */
export function Steps({ progress }: { progress: Progress }) {
  const { t } = useText();
  return (
    <ol className={classes.steps} aria-live="polite">
      {setupSteps.map((step) => {
        const state = progress.steps[step];
        return (
          <li
            key={step}
            className={classes.step}
            data-state={state}
            aria-current={state === 'active' ? 'step' : undefined}
          >
            <span className={classes.mark} aria-hidden="true">
              {state === 'done' && <IconCheck size={14} stroke={2.6} />}
              {state === 'failed' && <IconX size={14} stroke={2.6} />}
            </span>
            <div>
              <div className={classes.title}>
                {t(`step.${step}.title`)}
                <span className={classes.hidden}> ({t(`stepState.${state}`)})</span>
              </div>
              {state === 'active' && <div className={classes.text}>{t(`step.${step}.text`)}</div>}
            </div>
          </li>
        );
      })}
    </ol>
  );
}
