import { useText } from '../i18n';
import { useHalfMinute } from '../time/clock';
import { dateTime, elapsed } from '../time/format';

/** Says how long something has been so; the exact time is in the title, made when somebody points at it. */
export function Since({ at }: { at: string }) {
  const { t, language } = useText();
  const gone = elapsed(at, useHalfMinute());
  return (
    <time
      dateTime={at}
      onPointerEnter={(e) => {
        e.currentTarget.title = dateTime(at, language, true);
      }}
    >
      {gone ? t(`since.${gone.unit}`, { count: gone.count }) : t('since.now')}
    </time>
  );
}
