/**
 * Gives each actor of a workspace a slot, a small number under which the rules keep what they know of it. Slots start at
 * 1. When all are taken, the actor that has been inactive for longest gives its slot up.
 */
export class ActorTable {
  readonly #mostActors: number;
  readonly #onForgotten: (slot: number) => void;
  readonly #slots = new Map<string, number>();
  readonly #ids: string[] = [''];
  readonly #freeSlots: number[] = [];
  /** A ring through slot 0, from the most recently active actor to the least. */
  #older = new Int32Array(64);
  #newer = new Int32Array(64);

  /**
   * @param mostActors two at least: the newest is never forgotten
   * @param onForgotten drops what is kept under the slot, before another actor gets it
   */
  constructor(mostActors: number, onForgotten: (slot: number) => void) {
    this.#mostActors = mostActors;
    this.#onForgotten = onForgotten;
  }

  get size(): number {
    return this.#slots.size;
  }

  /** The actor's slot; it is the most recently active one now. */
  touch(actorId: string): number {
    const known = this.#slots.get(actorId);
    if (known !== undefined) {
      if (this.#newer[known] !== 0) {
        this.#unlink(known);
        this.#linkNewest(known);
      }
      return known;
    }
    if (this.#slots.size >= this.#mostActors) this.forgetOldest();
    const slot = this.#freeSlots.pop() ?? this.#ids.length;
    if (slot >= this.#older.length) this.#enlarge();
    this.#ids[slot] = actorId;
    this.#slots.set(actorId, slot);
    this.#linkNewest(slot);
    return slot;
  }

  /** The slot of an actor that is known, without touching it. */
  slotOf(actorId: string): number | undefined {
    return this.#slots.get(actorId);
  }

  idOf(slot: number): string {
    return this.#ids[slot] ?? '';
  }

  /** Forgets the actor that has been inactive for longest; false where there is only the newest. */
  forgetOldest(): boolean {
    const slot = this.#newer[0] ?? 0;
    if (slot === (this.#older[0] ?? 0)) return false;
    this.#unlink(slot);
    this.#slots.delete(this.idOf(slot));
    this.#ids[slot] = '';
    this.#freeSlots.push(slot);
    this.#onForgotten(slot);
    return true;
  }

  /** From the least recently active to the most. */
  *oldestFirst(): Generator<string> {
    for (let slot = this.#newer[0] ?? 0; slot !== 0; slot = this.#newer[slot] ?? 0) yield this.idOf(slot);
  }

  #linkNewest(slot: number): void {
    const newest = this.#older[0] ?? 0;
    this.#older[slot] = newest;
    this.#newer[slot] = 0;
    this.#newer[newest] = slot;
    this.#older[0] = slot;
  }

  #unlink(slot: number): void {
    const [older, newer] = [this.#older[slot] ?? 0, this.#newer[slot] ?? 0];
    this.#newer[older] = newer;
    this.#older[newer] = older;
  }

  #enlarge(): void {
    this.#older = enlarged(this.#older);
    this.#newer = enlarged(this.#newer);
  }
}

function enlarged(slots: Int32Array): Int32Array<ArrayBuffer> {
  const larger = new Int32Array(2 * slots.length);
  larger.set(slots);
  return larger;
}
