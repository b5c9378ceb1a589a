import type { RuleMemory } from './memory.ts';
import type { ConditionsOf } from './rule.ts';
import { type NodePool, SlotLists } from './slot-lists.ts';

/**
 * `new_country`: whether an actor acts from a country in which the rule has not seen it before. Events whose country
 * is unknown count for nothing, not for learning either.
 */
export function newCountryMemory(
  { learning_events: learningEvents }: ConditionsOf['new_country'],
  pool: NodePool,
): RuleMemory {
  const countries = new SlotLists(pool);
  let learned = new Uint16Array(1);

  function learn(slot: number): boolean {
    if (slot >= learned.length) learned = enlarged(learned, slot);
    const events = learned[slot] ?? 0;
    if (events < learningEvents) learned[slot] = events + 1;
    return events < learningEvents;
  }

  return {
    meets({ ipCountry }, slot) {
      const country = countryNumber(ipCountry);
      if (country === undefined) return false;
      const isLearning = learn(slot);
      if (countries.has(slot, country)) return false;
      countries.push(slot, country);
      return !isLearning;
    },
    reason: ({ ipCountry }) => `An actor acted from ${ipCountry}, a country it had not been seen in.`,
    forget(slot) {
      countries.clear(slot);
      learned[slot] = 0;
    },
    forgetAll: () => countries.clearAll(),
    snapshot: (placeOf) =>
      [...countries.usedSlots()].map((slot) => [
        placeOf(slot),
        learned[slot] ?? 0,
        ...countries.values(slot),
      ]),
    restore(rows, slotOf) {
      for (const [place = 0, events = 0, ...numbers] of rows) {
        const slot = slotOf(place);
        if (slot === undefined) continue;
        if (slot >= learned.length) learned = enlarged(learned, slot);
        learned[slot] = events;
        for (const number of numbers) countries.push(slot, number);
      }
    },
  };
}

function enlarged(counts: Uint16Array<ArrayBuffer>, slot: number): Uint16Array<ArrayBuffer> {
  const larger = new Uint16Array(Math.max(2 * counts.length, slot + 1));
  larger.set(counts);
  return larger;
}

/** Codes that GeoIP databases give to what they do not know. */
const UNKNOWN = new Set(['XX', 'ZZ']);

/** Undefined for no country. */
function countryNumber(code: string | undefined): number | undefined {
  if (code === undefined || !/^[A-Z]{2}$/.test(code) || UNKNOWN.has(code)) return undefined;
  return code.charCodeAt(0) * 256 + code.charCodeAt(1);
}
