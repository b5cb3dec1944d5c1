import { expect, test } from 'vitest';
import document from '../../../../api/openapi.json';
import { operations } from './texts';

/** What the log does not tell of, though it is no GET; see ccc/api/audited.go. */
const quiet = ['beginPasskeySignIn', 'beginOIDCSignIn', 'beginProviderLink', 'showInvitation'];

test('each operation that the log tells of has a text', () => {
  const told = Object.values(document.paths).flatMap((methods) =>
    Object.entries(methods)
      .filter(([method, op]) => method !== 'get' || ['exportAudit', 'getAuditAddress'].includes(op.operationId))
      .map(([, op]) => op.operationId),
  );
  expect(told.length).toBeGreaterThan(50);
  expect(told.filter((id) => !quiet.includes(id) && !operations.includes(id))).toEqual([]);
});
