/** The day of a moment in the zone of the browser, as 2026-11-26; empty where there is none. */
export function dayOf(moment: string | undefined): string {
  if (!moment) return '';
  const date = new Date(moment);
  const two = (n: number) => String(n).padStart(2, '0');
  return `${String(date.getFullYear()).padStart(4, '0')}-${two(date.getMonth() + 1)}-${two(date.getDate())}`;
}

/** The last second of a day in the zone of the browser: until then is with the day. */
export function endOfDay(day: string): string {
  const [year = 0, month = 1, dayOfMonth = 1] = day.split('-').map(Number);
  return new Date(year, month - 1, dayOfMonth, 23, 59, 59).toISOString();
}
