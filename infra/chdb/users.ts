import { totalmem } from 'node:os';
import { DATABASE } from '../clickhouse/names.ts';
import { workspaceAnalystName } from './workspace-analyst.ts';

/** A user of the server. The engine knows one user only; what each of ours may do are roles of that one. */
export interface User {
  name: string;
  /** For an analyst of one workspace: the only one whose events the views show. */
  workspace?: string;
  /** Where names without a database are looked up. */
  database?: string;
  grants: string[];
  readOnly: boolean;
  /** Statements it may run beside what everybody may. */
  verbs?: readonly string[];
  /** Settings each of its queries starts with. */
  settings: Record<string, string | number>;
  /** Limits of settings, in users.xml. */
  profile?: string;
  /** How many of its queries run at a time, and how many more may wait. Each user has places of its own, so that nobody's long query delays another's. */
  running: number;
  waiting: number;
}

const MIB = 1024 * 1024;

/** As many as can run at once, of `analyst` and of workspaces, leave half of what the engine may use to the service itself. */
const ANALYST_MEMORY_BYTES = Math.min(2048 * MIB, Math.floor(totalmem() / 16));

/** Limits of one query, as it begins; what it may ask for instead is in the profile. */
export const ANALYST_LIMITS = {
  max_execution_time: 60,
  max_memory_usage: ANALYST_MEMORY_BYTES,
  max_result_rows: 10_000_000,
  max_result_bytes: 1024 * MIB,
  // A sort or join too large for memory goes to disk, and the disk is the log's.
  max_temporary_data_on_disk_size_for_query: 4096 * MIB,
};

export const ANALYST: User = {
  name: 'analyst',
  database: DATABASE,
  grants: [
    'GRANT SELECT ON immutable.audit_events',
    'GRANT SELECT ON immutable.audit_chain',
    'GRANT SELECT ON immutable.audit_anchors',
  ],
  readOnly: true,
  profile: 'analyst',
  settings: ANALYST_LIMITS,
  running: 2,
  waiting: 16,
};

/** An analyst who sees one workspace. */
export function analystOf(workspace: string): User {
  return { ...ANALYST, ...ONE_WORKSPACE, name: workspaceAnalystName(workspace), workspace };
}

/** Places of one workspace's analyst; `running: 1` also keeps the engine's sessions as few as the workspaces. */
export const ONE_WORKSPACE = { running: 1, waiting: 8 };
/** Places of all of them together, beside the analyst's own. */
export const WORKSPACE_ANALYSTS = { running: 2, waiting: 32 };

/**
 * Nobody holds a right to files, URLs or other servers (SOURCES). The writer adds and reads; that it can
 * neither alter nor delete is what "append-only" rests on.
 */
export const USERS: readonly User[] = [
  {
    name: 'admin',
    grants: [
      'GRANT SELECT, INSERT, ALTER, CREATE DATABASE, CREATE TABLE, CREATE VIEW, CREATE DICTIONARY, DROP, TRUNCATE, OPTIMIZE, SHOW, KILL QUERY, SYSTEM, dictGet, SET DEFINER ON *.*',
    ],
    readOnly: false,
    settings: {},
    running: 2,
    waiting: 32,
  },
  {
    name: 'writer',
    grants: ['GRANT SELECT, INSERT ON immutable.*'],
    readOnly: false,
    profile: 'writer',
    // VALUES are values: an expression there could read what the writer may not.
    settings: {
      input_format_values_interpret_expressions: 0,
      input_format_values_deduce_templates_of_expressions: 0,
    },
    running: 6,
    waiting: 256,
  },
  {
    name: 'reader',
    grants: ['GRANT SELECT ON immutable.*'],
    readOnly: true,
    settings: {},
    running: 6,
    waiting: 256,
  },
  ANALYST,
  {
    // The only one that removes events, and nothing but events; for as long as a run of the retention lasts.
    name: 'retention',
    grants: [
      'GRANT SELECT ON immutable.*',
      'GRANT INSERT ON immutable.boundaries',
      'GRANT INSERT ON immutable.restored_events',
      'GRANT ALTER DELETE ON immutable.events',
    ],
    readOnly: false,
    verbs: ['ALTER'],
    profile: 'writer',
    settings: {
      input_format_values_interpret_expressions: 0,
      input_format_values_deduce_templates_of_expressions: 0,
    },
    running: 2,
    waiting: 8,
  },
];

/** How many queries the engine runs at a time. */
export const RUNNING_QUERIES = [...USERS, WORKSPACE_ANALYSTS].reduce((sum, { running }) => sum + running, 0);

/** The engine's role with the user's grants. */
export function roleOf({ name, workspace }: User): string {
  return workspace === undefined ? name : ANALYST.name;
}
