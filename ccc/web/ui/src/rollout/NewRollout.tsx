import { Alert, Button, Container, MultiSelect, NativeSelect, Paper, Stack, TextInput, Title } from '@mantine/core';
import { useMutation, useQuery } from '@tanstack/react-query';
import { useNavigate, useSearch } from '@tanstack/react-router';
import { useState } from 'react';
import { api, call, idempotencyKey } from '../api/client';
import { asApiError } from '../api/problem';
import { problemText } from '../api/problemText';
import { useTitle } from '../app/useTitle';
import { BackLink } from '../components/BackLink';
import { firmwareQuery, useBringsFirmware } from '../firmware/queries';
import { fleet, useFleet } from '../fleet/store';
import { useText } from '../i18n';
import { sitesQuery } from '../organisation/queries';
import { parseLines } from './lines';
import { PlanFields } from './PlanFields';
import { firstPlan, planOf, windowFits } from './plan';
import { templatesQuery } from './queries';
import classes from './Rollout.module.css';
import { kinds, type NewRolloutSearch } from './search';
import { SettingLines } from './Templates';

const scopes = ['all', 'site', 'group', 'tag', 'chosen'] as const;

/** The filter of a scope; part is the site, group or tag. */
function filterOf(scope: (typeof scopes)[number], part: string) {
  switch (scope) {
    case 'site':
      return { site_id: part };
    case 'group':
      return { group_id: part };
    case 'tag':
      return { tags: [part] };
    default:
      return {};
  }
}

/** Prepares a change of many PBXs; nothing is changed before it was shown what would be. */
export function NewRolloutPage() {
  const { t } = useText();
  useTitle(t('rollout.make.title'));
  const navigate = useNavigate();
  const search: NewRolloutSearch = useSearch({ from: '/shell/rollouts/new' });
  const brings = useBringsFirmware();
  const [name, setName] = useState('');
  const [kind, setKind] = useState<(typeof kinds)[number]>(
    search.kind === 'firmware' && !brings ? 'settings' : (search.kind ?? 'settings'),
  );
  const [firmware, setFirmware] = useState(search.firmware ?? '');
  const [template, setTemplate] = useState('');
  const [lines, setLines] = useState('');
  const [scope, setScope] = useState<(typeof scopes)[number]>(search.system ? 'chosen' : 'all');
  const [part, setPart] = useState('');
  const [chosen, setChosen] = useState<string[]>(search.system ? [search.system] : []);
  const [plan, setPlan] = useState(firstPlan);
  const [key] = useState(idempotencyKey);
  const templates = useQuery(templatesQuery).data ?? [];
  const sites = useQuery(sitesQuery).data ?? [];
  const images = useQuery({ ...firmwareQuery, enabled: kind === 'firmware' });
  useFleet();
  const systems = [...fleet.all()].filter((s) => s.state === 'paired');
  const groups = new Map(systems.flatMap((s) => s.groups.map((g) => [g.id, g.name] as const)));
  const parts = {
    site: sites.map((s) => ({ value: s.id, label: s.name })),
    group: [...groups].map(([value, label]) => ({ value, label })),
    tag: [...new Set(systems.flatMap((s) => s.tags))].sort().map((tag) => ({ value: tag, label: tag })),
  };
  const { values, wrong } = parseLines(lines);
  const create = useMutation({
    mutationFn: () =>
      call(
        api.POST('/rollouts', {
          params: { header: { 'Idempotency-Key': key } },
          body: {
            name,
            kind,
            ...(kind === 'firmware' && { firmware_id: firmware }),
            ...(kind === 'settings' && (template ? { template_id: template } : { settings: values })),
            ...(scope === 'chosen' ? { system_ids: chosen } : { filter: filterOf(scope, part) }),
            plan: planOf(plan, kind),
          },
        }),
      ),
    onSuccess: (made) => navigate({ to: '/rollouts/$id', params: { id: made.id } }),
  });
  const what = {
    settings: template !== '' || (wrong === 0 && Object.keys(values).length > 0),
    restart: true,
    firmware: images.data?.some(({ id }) => id === firmware) ?? false,
  }[kind];
  const whom = scope === 'all' || (scope === 'chosen' ? chosen.length > 0 : part !== '');
  return (
    <Container size="md" className={classes.page}>
      <BackLink to="/rollouts" label={t('rollout.title')} />
      <Title order={1}>{t('rollout.make.title')}</Title>
      <p className={classes.lead}>{t('rollout.make.lead')}</p>
      <form
        onSubmit={(e) => {
          e.preventDefault();
          create.mutate();
        }}
      >
        <Paper withBorder radius="lg" className={classes.card} component="section">
          <Stack>
            <Title order={2}>{t('rollout.make.what')}</Title>
            <TextInput
              label={t('rollout.name')}
              required
              maxLength={100}
              value={name}
              onChange={(e) => setName(e.currentTarget.value)}
            />
            <NativeSelect
              label={t('rollout.kindLabel')}
              value={kind}
              data={kinds
                .filter((value) => value !== 'firmware' || brings)
                .map((value) => ({ value, label: t(`rollout.kind.${value}`) }))}
              onChange={(e) => setKind(kinds.find((k) => k === e.currentTarget.value) ?? 'settings')}
            />
            {kind === 'settings' && (
              <NativeSelect
                label={t('rollout.make.template')}
                value={template}
                data={[
                  { value: '', label: t('rollout.make.noTemplate') },
                  ...templates.map((v) => ({ value: v.id, label: v.name })),
                ]}
                onChange={(e) => setTemplate(e.currentTarget.value)}
              />
            )}
            {kind === 'firmware' &&
              (images.error ? (
                <Alert color="red" role="alert">
                  {problemText(t, images.error)}
                </Alert>
              ) : (
                <NativeSelect
                  label={t('firmware.image')}
                  required
                  value={firmware}
                  data={[
                    { value: '', label: t('firmware.noImage') },
                    ...(images.data ?? []).map((v) => ({ value: v.id, label: `${v.model} ${v.version}` })),
                  ]}
                  onChange={(e) => setFirmware(e.currentTarget.value)}
                />
              ))}
            {kind === 'settings' && !template && <SettingLines text={lines} wrong={wrong} onChange={setLines} />}
          </Stack>
        </Paper>
        <Paper withBorder radius="lg" className={classes.card} component="section">
          <Stack>
            <Title order={2}>{t('rollout.make.whom')}</Title>
            <NativeSelect
              label={t('rollout.make.scope')}
              value={scope}
              data={scopes.map((value) => ({ value, label: t(`rollout.scope.${value}`) }))}
              onChange={(e) => {
                setScope(scopes.find((s) => s === e.currentTarget.value) ?? 'all');
                setPart('');
              }}
            />
            {scope !== 'all' && scope !== 'chosen' && (
              <NativeSelect
                label={t(`rollout.part.${scope}`)}
                value={part}
                data={[{ value: '', label: '–' }, ...parts[scope]]}
                onChange={(e) => setPart(e.currentTarget.value)}
              />
            )}
            {scope === 'chosen' && (
              <MultiSelect
                label={t('rollout.make.systems')}
                description={t('rollout.make.systemsHint')}
                searchable
                limit={50}
                value={chosen}
                data={systems.map((s) => ({ value: s.id, label: `${s.name} (${s.serial})` }))}
                onChange={setChosen}
              />
            )}
          </Stack>
        </Paper>
        <Paper withBorder radius="lg" className={classes.card} component="section">
          <Title order={2} mb="md">
            {t('rollout.make.how')}
          </Title>
          <PlanFields plan={plan} kind={kind} onChange={setPlan} />
        </Paper>
        {create.error && (
          <Alert color="red" role="alert" mt="md">
            {problemText(t, create.error)}
            <ul>
              {asApiError(create.error).fields.map((f) => (
                <li key={f.location}>
                  {f.location.replace('body.', '')}: {f.message}
                </li>
              ))}
            </ul>
          </Alert>
        )}
        <Button
          type="submit"
          mt="lg"
          loading={create.isPending}
          disabled={!name.trim() || !what || !whom || !windowFits(plan)}
        >
          {t('rollout.make.submit')}
        </Button>
      </form>
    </Container>
  );
}
