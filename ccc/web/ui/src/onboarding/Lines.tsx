import { Anchor, Table } from '@mantine/core';
import { Link } from '@tanstack/react-router';
import type { ImportLine } from '../api/types';
import { useText } from '../i18n';
import { faultText } from './faults';
import classes from './Onboarding.module.css';

/** What became of each line, or would. */
export function Lines({ lines, dryRun }: { lines: readonly ImportLine[]; dryRun: boolean }) {
  const { t } = useText();
  return (
    // biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls can be scrolled by keyboard
    <section className={classes.table} aria-label={t('onboarding.lines')} tabIndex={0}>
      <Table verticalSpacing="xs" horizontalSpacing="md" stickyHeader>
        <Table.Thead>
          <Table.Tr>
            <Table.Th>{t('onboarding.line')}</Table.Th>
            <Table.Th>{t('column.serial')}</Table.Th>
            <Table.Th>{t('column.name')}</Table.Th>
            <Table.Th>{t('onboarding.outcome')}</Table.Th>
          </Table.Tr>
        </Table.Thead>
        <Table.Tbody>
          {lines.map((line) => (
            <Table.Tr key={line.line}>
              <Table.Td>{line.line}</Table.Td>
              <Table.Td className={classes.serial}>{line.serial || '–'}</Table.Td>
              <Table.Td>
                {line.system_id ? (
                  <Anchor
                    size="sm"
                    renderRoot={(props) => <Link {...props} to="/systems/$id" params={{ id: line.system_id ?? '' }} />}
                  >
                    {line.name}
                  </Anchor>
                ) : (
                  line.name || '–'
                )}
              </Table.Td>
              <Table.Td>
                <span className={classes.outcome} data-outcome={line.outcome}>
                  {dryRun && line.outcome === 'created' ? t('onboarding.would') : t(`onboarding.is.${line.outcome}`)}
                </span>
                {line.errors.length > 0 && (
                  <ul className={classes.faults}>
                    {line.errors.map((fault) => (
                      <li key={`${fault.column} ${fault.code}`}>{faultText(t, fault)}</li>
                    ))}
                  </ul>
                )}
                {line.differs && line.differs.length > 0 && (
                  <p className={classes.hint}>
                    {t('onboarding.differs', {
                      columns: line.differs.map((c) => t(`onboarding.column.${c as 'name'}`)).join(', '),
                    })}
                  </p>
                )}
              </Table.Td>
            </Table.Tr>
          ))}
        </Table.Tbody>
      </Table>
    </section>
  );
}
