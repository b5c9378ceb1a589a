/** What goes with a query beside its text. */
export interface Query {
  /** Of an INSERT, in its FORMAT. */
  data?: Uint8Array;
  settings?: Record<string, string>;
}

/** One query over ClickHouse's HTTP interface, with as little around it as can be: bytes in, bytes out. */
export async function runSql(url: string, query: string, { data, settings }: Query = {}): Promise<Buffer> {
  const { origin, username, password } = new URL(url);
  const parameters = new URLSearchParams({ ...(data === undefined ? {} : { query }), ...settings });
  const response = await fetch(`${origin}/?${parameters}`, {
    method: 'POST',
    headers: { 'x-clickhouse-user': username, 'x-clickhouse-key': decodeURIComponent(password) },
    body: data ?? query,
  });
  const answer = Buffer.from(await response.arrayBuffer());
  if (response.status === 200) return answer;
  throw new Error(
    `ClickHouse answered ${response.status} to ${query}: ${answer.subarray(0, 2000).toString()}`,
  );
}
