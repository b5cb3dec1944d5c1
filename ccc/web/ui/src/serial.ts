import { limits } from './api/generated/limits';

const valid = new RegExp(limits.serial);

/** A serial as the server wants it, of what somebody typed, pasted or scanned. */
export function normalSerial(typed: string): string {
  return typed.replace(/[\s.\-–_/]/g, '').toUpperCase();
}

/** Whether the server would take the serial. */
export function isSerial(typed: string): boolean {
  return valid.test(normalSerial(typed));
}

/** A serial in groups of five, which are easier to compare. */
export function groupedSerial(serial: string): string {
  return normalSerial(serial).replace(/(.{5})(?=.)/g, '$1 ');
}
