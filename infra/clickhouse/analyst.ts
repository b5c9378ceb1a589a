import { anchoredRows } from './anchored.ts';
import { TABLES, VIEWS, VIEWS_OWNER } from './names.ts';
import { retainedRows, VIEWS_FIXED_SETTINGS } from './retained.ts';

export interface ServerAnalyst {
  name: string;
  password: string;
  workspaceId: string;
}

/** The hash of no password that anybody knows; servers may refuse users without one. */
const NO_PASSWORD = '0'.repeat(64);

/**
 * What makes an analyst of one workspace on a ClickHouse server; each may be run again, and brings one that an older
 * version made up to date. The analyst reads three
 * views in a database of its own, and nothing else. They run as a user that nobody can log in as, whose row
 * policies ClickHouse applies to the tables before anything that a query says. (A policy on the view, or one that
 * depends on a setting, does not hold: docs/decisions/0011-analysts-of-one-workspace.md.)
 */
export function analystStatements({ name, password, workspaceId }: ServerAnalyst): string[] {
  const owner = `${VIEWS_OWNER}_${workspaceId}`;
  const view = (of: string, from: string) =>
    `CREATE OR REPLACE VIEW ${workspaceId}.${of} DEFINER = ${owner} SQL SECURITY DEFINER AS SELECT * FROM ${from}`;
  const own = `workspace_id = '${workspaceId}'`;
  return [
    `CREATE USER IF NOT EXISTS ${owner} IDENTIFIED WITH sha256_hash BY '${NO_PASSWORD}' HOST NONE`,
    `ALTER USER ${owner} SETTINGS ${VIEWS_FIXED_SETTINGS.map((name) => `${name} CONST`).join(', ')}`,
    `CREATE ROW POLICY OR REPLACE ${owner} ON ${TABLES.events} AS RESTRICTIVE USING ${own} AND ${retainedRows(own)} TO ${owner}`,
    `CREATE ROW POLICY OR REPLACE ${owner} ON ${TABLES.anchors} AS RESTRICTIVE USING ${own} TO ${owner}`,
    `CREATE ROW POLICY OR REPLACE ${owner} ON ${TABLES.anchorBatches} AS RESTRICTIVE USING ${anchoredRows(own)} TO ${owner}`,
    ...[
      TABLES.events,
      TABLES.retentionWindows,
      VIEWS.retainedFrom,
      VIEWS.visibleEvents,
      VIEWS.visibleChain,
      TABLES.anchors,
      TABLES.anchorBatches,
      VIEWS.visibleAnchors,
    ].map((table) => `GRANT SELECT ON ${table} TO ${owner}`),
    `CREATE DATABASE IF NOT EXISTS ${workspaceId}`,
    view('audit_events', VIEWS.visibleEvents),
    view('audit_chain', VIEWS.visibleChain),
    view('audit_anchors', VIEWS.visibleAnchors),
    `CREATE USER IF NOT EXISTS ${name} IDENTIFIED WITH sha256_password BY '${password.replace(/[\\']/g, '\\$&')}' DEFAULT DATABASE ${workspaceId}`,
    `GRANT SELECT ON ${workspaceId}.* TO ${name}`,
    `GRANT immutable_analyst_limits TO ${name}`,
  ];
}
