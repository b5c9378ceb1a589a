/** Numbers in linked lists, kept in two flat arrays: no object for each, whatever an attacker makes us remember. */
export class NodePool {
  values = new Float64Array(256);
  next = new Int32Array(256);
  readonly #mostNodes: number;
  readonly #makeRoom: () => boolean;
  /** Node 0 is the end of every list. */
  #used = 1;
  #firstFree = 0;

  /**
   * @param makeRoom gives nodes back when there are `mostNodes`, and is asked again while it returns true; beyond that
   *   the pool grows
   */
  constructor(mostNodes: number, makeRoom: () => boolean) {
    this.#mostNodes = mostNodes;
    this.#makeRoom = makeRoom;
  }

  take(value: number): number {
    while (this.#firstFree === 0 && this.#used > this.#mostNodes && this.#makeRoom());
    const node = this.#firstFree === 0 ? this.#unused() : this.#firstFree;
    if (node === this.#firstFree) this.#firstFree = this.next[node] ?? 0;
    this.values[node] = value;
    this.next[node] = 0;
    return node;
  }

  give(node: number): void {
    this.next[node] = this.#firstFree;
    this.#firstFree = node;
  }

  #unused(): number {
    if (this.#used === this.values.length) {
      const [values, next] = [this.values, this.next];
      this.values = new Float64Array(2 * values.length);
      this.next = new Int32Array(2 * next.length);
      this.values.set(values);
      this.next.set(next);
    }
    return this.#used++;
  }
}

/** A list for each slot of an actor table, oldest value first, in a pool that many of these share. */
export class SlotLists {
  readonly #pool: NodePool;
  #oldest = new Int32Array(1);
  #newest = new Int32Array(1);
  #counts = new Uint32Array(1);

  constructor(pool: NodePool) {
    this.#pool = pool;
  }

  count(slot: number): number {
    return this.#counts[slot] ?? 0;
  }

  push(slot: number, value: number): void {
    const node = this.#pool.take(value);
    if (slot >= this.#counts.length) this.#enlarge(slot);
    const count = this.count(slot);
    if (count === 0) this.#oldest[slot] = node;
    else this.#pool.next[this.#newest[slot] ?? 0] = node;
    this.#newest[slot] = node;
    this.#counts[slot] = count + 1;
  }

  /** Undefined where the list is empty. */
  oldest(slot: number): number | undefined {
    return this.count(slot) === 0 ? undefined : this.#pool.values[this.#oldest[slot] ?? 0];
  }

  dropOldest(slot: number): void {
    const count = this.count(slot);
    if (count === 0) return;
    const node = this.#oldest[slot] ?? 0;
    this.#oldest[slot] = this.#pool.next[node] ?? 0;
    this.#counts[slot] = count - 1;
    this.#pool.give(node);
  }

  has(slot: number, value: number): boolean {
    let node = this.#oldest[slot] ?? 0;
    for (let left = this.count(slot); left > 0; left -= 1) {
      if (this.#pool.values[node] === value) return true;
      node = this.#pool.next[node] ?? 0;
    }
    return false;
  }

  clear(slot: number): void {
    while (this.count(slot) > 0) this.dropOldest(slot);
  }

  clearAll(): void {
    for (const slot of this.usedSlots()) this.clear(slot);
  }

  /** Oldest first. */
  values(slot: number): number[] {
    const values: number[] = [];
    let node = this.#oldest[slot] ?? 0;
    for (let left = this.count(slot); left > 0; left -= 1) {
      values.push(this.#pool.values[node] ?? 0);
      node = this.#pool.next[node] ?? 0;
    }
    return values;
  }

  *usedSlots(): Generator<number> {
    for (let slot = 0; slot < this.#counts.length; slot += 1) if (this.count(slot) > 0) yield slot;
  }

  #enlarge(slot: number): void {
    const length = Math.max(2 * this.#counts.length, slot + 1);
    const [oldest, newest, counts] = [this.#oldest, this.#newest, this.#counts];
    this.#oldest = new Int32Array(length);
    this.#newest = new Int32Array(length);
    this.#counts = new Uint32Array(length);
    this.#oldest.set(oldest);
    this.#newest.set(newest);
    this.#counts.set(counts);
  }
}
