import { Button, Group, Stack, Text, Textarea, TextInput } from '@mantine/core';
import { useMutation, useQueryClient } from '@tanstack/react-query';
import { useState } from 'react';
import { api, call } from '../api/client';
import type { Site } from '../api/types';
import { tell, useComplain } from '../components/notify';
import { useText } from '../i18n';
import { sitesQuery } from '../organisation/queries';
import { degrees } from './sites';

export type Coordinates = { latitude: string; longitude: string };

interface Props {
  site: Site;
  /** What is typed, or was clicked on the map. */
  typed: Coordinates;
  onType(typed: Coordinates): void;
  onClose(): void;
}

/** Says where a site is. */
export function PlaceForm({ site, typed, onType, onClose }: Props) {
  const { t } = useText();
  const complain = useComplain();
  const client = useQueryClient();
  const [address, setAddress] = useState(site.address ?? '');
  const [tried, setTried] = useState(false);
  const latitude = degrees(typed.latitude, 90);
  const longitude = degrees(typed.longitude, 180);
  const empty = typed.latitude.trim() === '' && typed.longitude.trim() === '';
  const { mutate, isPending } = useMutation({
    mutationFn: () =>
      call(
        api.PUT('/sites/{id}/place', {
          params: { path: { id: site.id } },
          body: {
            address: address.trim(),
            ...(latitude !== undefined && longitude !== undefined && { latitude, longitude }),
          },
        }),
      ),
    onSuccess: async () => {
      await client.invalidateQueries({ queryKey: sitesQuery.queryKey });
      tell(t('history.map.placed', { name: site.name }));
      onClose();
    },
    onError: complain,
  });
  return (
    <form
      noValidate
      onSubmit={(e) => {
        e.preventDefault();
        setTried(true);
        if (empty || (latitude !== undefined && longitude !== undefined)) mutate();
      }}
    >
      <Stack gap="sm">
        <Text size="sm">{t('history.map.pick')}</Text>
        <Group grow align="flex-start" gap="sm">
          <TextInput
            label={t('history.map.latitude')}
            inputMode="decimal"
            value={typed.latitude}
            onChange={(e) => onType({ ...typed, latitude: e.currentTarget.value })}
            error={tried && !empty && latitude === undefined && t('history.map.latitudeWrong')}
          />
          <TextInput
            label={t('history.map.longitude')}
            inputMode="decimal"
            value={typed.longitude}
            onChange={(e) => onType({ ...typed, longitude: e.currentTarget.value })}
            error={tried && !empty && longitude === undefined && t('history.map.longitudeWrong')}
          />
        </Group>
        <Textarea
          label={t('history.map.address')}
          autosize
          minRows={2}
          maxRows={5}
          maxLength={300}
          value={address}
          onChange={(e) => setAddress(e.currentTarget.value)}
        />
        <Group gap="sm">
          <Button type="submit" size="sm" loading={isPending}>
            {t('history.map.save')}
          </Button>
          <Button variant="default" size="sm" onClick={onClose}>
            {t('history.map.cancel')}
          </Button>
        </Group>
      </Stack>
    </form>
  );
}
