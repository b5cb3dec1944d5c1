import { Button, Container, Paper, Skeleton, Text, Title } from '@mantine/core';
import { IconMapPin } from '@tabler/icons-react';
import { useQuery } from '@tanstack/react-query';
import { Link } from '@tanstack/react-router';
import { useMemo, useState } from 'react';
import { problemText } from '../api/problemText';
import { useMay } from '../app/meta';
import { useTitle } from '../app/useTitle';
import { StatusText } from '../components/StatusText';
import { fleet, useFleet } from '../fleet/store';
import { ReasonCounts } from '../history/ReasonCounts';
import { useHistoryRight } from '../history/rights';
import { useText } from '../i18n';
import { sitesQuery } from '../organisation/queries';
import classes from './Map.module.css';
import { type Coordinates, PlaceForm } from './PlaceForm';
import { degrees, type Place, placesOf } from './sites';
import { WorldMap } from './WorldMap';

/** Where the systems are, and how they are. The list has all that the map shows. */
export function MapPage() {
  const { t } = useText();
  const write = useMay().whole('tenant.write');
  const history = useHistoryRight();
  const { structure, presence } = useFleet();
  const { data: sites, error } = useQuery(sitesQuery);
  const [selected, select] = useState<string>();
  const [placing, setPlacing] = useState<string>();
  const [typed, setTyped] = useState<Coordinates>({ latitude: '', longitude: '' });
  useTitle(t('history.map.title'));
  // biome-ignore lint/correctness/useExhaustiveDependencies: the store is read again when its counters rise
  const places = useMemo(() => placesOf(sites ?? [], fleet.all()), [sites, structure, presence]);
  const latitude = degrees(typed.latitude, 90);
  const longitude = degrees(typed.longitude, 180);
  const begin = (place: Place) => {
    select(place.site.id);
    setPlacing(place.site.id);
    const { latitude: lat, longitude: long } = place.site;
    setTyped({ latitude: lat === undefined ? '' : String(lat), longitude: long === undefined ? '' : String(long) });
  };
  return (
    <Container size="xl" className={classes.page}>
      <div className={classes.title}>
        <Title order={1}>{t('history.map.title')}</Title>
        <Text c="dimmed">{t('history.map.lead')}</Text>
      </div>
      <div className={classes.columns}>
        <Paper withBorder radius="lg" className={classes.mapCard}>
          <WorldMap
            places={places}
            selected={selected}
            onSelect={select}
            pin={placing && latitude !== undefined && longitude !== undefined ? { latitude, longitude } : undefined}
            onPick={
              placing ? (at) => setTyped({ latitude: String(at.latitude), longitude: String(at.longitude) }) : undefined
            }
          />
        </Paper>
        <div className={classes.side}>
          <Paper withBorder radius="lg" className={classes.card} component="section">
            <Title order={2} mb="sm">
              {t('history.map.sites')}
            </Title>
            {!sites ? (
              error ? (
                <Text c="dimmed">{problemText(t, error)}</Text>
              ) : (
                <Skeleton height={120} aria-hidden="true" />
              )
            ) : sites.length === 0 ? (
              <Text size="sm" c="dimmed">
                {t('history.map.none')}
              </Text>
            ) : (
              <ul className={classes.list}>
                {places.map((place) => (
                  <li key={place.site.id}>
                    <SiteLine
                      place={place}
                      open={selected === place.site.id}
                      onOpen={() => {
                        setPlacing(undefined);
                        select(selected === place.site.id ? undefined : place.site.id);
                      }}
                    />
                    {selected === place.site.id &&
                      (placing === place.site.id ? (
                        <div className={classes.more}>
                          <PlaceForm
                            site={place.site}
                            typed={typed}
                            onType={setTyped}
                            onClose={() => setPlacing(undefined)}
                          />
                        </div>
                      ) : (
                        <SiteMore place={place} onPlace={write ? () => begin(place) : undefined} />
                      ))}
                  </li>
                ))}
              </ul>
            )}
          </Paper>
          {history && (
            <Paper withBorder radius="lg" className={classes.card} component="section">
              <Title order={2} mb="sm">
                {t('history.why.title')}
              </Title>
              <ReasonCounts />
            </Paper>
          )}
        </div>
      </div>
    </Container>
  );
}

function SiteLine({ place, open, onOpen }: { place: Place; open: boolean; onOpen(): void }) {
  const { t } = useText();
  const { site, state, systems, away, at } = place;
  return (
    <button type="button" className={classes.line} aria-expanded={open} onClick={onOpen}>
      <span className={classes.dot} data-state={state} aria-hidden="true" />
      <span className={classes.words}>
        <b>{site.name}</b>
        <small>
          {t('history.map.systems', { count: systems.length })}
          {away.length > 0 && ` · ${t('history.map.offline', { count: away.length })}`}
          {at === null && ` · ${t('history.map.unplaced')}`}
        </small>
      </span>
    </button>
  );
}

/** How many systems of a site are listed. */
const listed = 50;

function SiteMore({ place, onPlace }: { place: Place; onPlace: (() => void) | undefined }) {
  const { t } = useText();
  const { site, systems, away, at } = place;
  return (
    <div className={classes.more}>
      {site.address && <p className={classes.address}>{site.address}</p>}
      {away.length > 0 ? (
        <ul className={classes.away}>
          {away.slice(0, listed).map((system) => (
            <li key={system.id}>
              <Link to="/systems/$id" params={{ id: system.id }}>
                {system.name}
              </Link>
              <StatusText system={system} />
            </li>
          ))}
        </ul>
      ) : (
        systems.length > 0 && <Text size="sm">{t('history.map.allOnline')}</Text>
      )}
      {onPlace && (
        <Button variant="default" size="xs" leftSection={<IconMapPin size={15} />} onClick={onPlace}>
          {at ? t('history.map.change') : t('history.map.place')}
        </Button>
      )}
    </div>
  );
}
