import { anchoredRows } from '../clickhouse/anchored.ts';
import { DATABASE, TABLES, VIEWS, VIEWS_OWNER } from '../clickhouse/names.ts';
import { retainedRows, VIEWS_FIXED_SETTINGS } from '../clickhouse/retained.ts';
import { ANALYST_LIMITS, USERS, type User } from './users.ts';

/** The engine's users.xml: our users as roles of its only user, and settings that nobody may change. */
export function usersXml(): string {
  const roles = USERS.map(
    ({ name, grants }) => `<${name}><grants>${queries([...grants, IN_DEFAULT_DATABASE])}</grants></${name}>`,
  );
  return `<clickhouse>
  <profiles>
    <default>
      <implicit_select>0</implicit_select>
      <constraints>${fixed(FIXED_SETTINGS)}</constraints>
    </default>
    <writer>
      <constraints>
        <input_format_values_interpret_expressions><const/></input_format_values_interpret_expressions>
        <input_format_values_deduce_templates_of_expressions><const/></input_format_values_deduce_templates_of_expressions>
      </constraints>
    </writer>
    <analyst>
      <constraints>
        <${WORKSPACE_SETTING}><const/></${WORKSPACE_SETTING}>
        <max_execution_time><min>1</min><max>600</max></max_execution_time>
        ${atMost('max_memory_usage', ANALYST_LIMITS.max_memory_usage)}
        ${atMost('max_result_rows', ANALYST_LIMITS.max_result_rows)}
        ${atMost('max_result_bytes', ANALYST_LIMITS.max_result_bytes)}
        ${atMost('max_temporary_data_on_disk_size_for_query', ANALYST_LIMITS.max_temporary_data_on_disk_size_for_query)}
        ${fixed(ANALYST_FIXED_SETTINGS)}
        <max_threads><max>${MAX_ANALYST_THREADS}</max></max_threads>
      </constraints>
    </analyst>
    <${VIEWS_OWNER}>
      <constraints>${fixed(VIEWS_FIXED_SETTINGS)}</constraints>
    </${VIEWS_OWNER}>
  </profiles>
  <quotas><default/></quotas>
  <roles>${roles.join('')}</roles>
  <users>
    <default>
      <password/>
      <networks><ip>::/0</ip></networks>
      <profile>default</profile>
      <quota>default</quota>
      <grants>${queries(USERS.map(({ name }) => `GRANT ${name}`))}</grants>
    </default>
    <${VIEWS_OWNER}>
      <no_password/>
      <networks><ip>::1</ip></networks>
      <profile>${VIEWS_OWNER}</profile>
      <quota>default</quota>
      <grants>${queries(VIEWS_OWNER_READS.map((table) => `GRANT SELECT ON ${table}`))}</grants>
      <databases><${DATABASE}>
        <events><filter>${VISIBLE_ROWS}</filter></events>
        <anchors><filter>${VISIBLE_WORKSPACES}</filter></anchors>
        <anchor_batches><filter>${anchoredRows(VISIBLE_WORKSPACES)}</filter></anchor_batches>
      </${DATABASE}></databases>
    </${VIEWS_OWNER}>
  </users>
</clickhouse>`;
}

function queries(texts: string[]): string {
  return texts.map((text) => `<query>${text}</query>`).join('');
}

function fixed(settings: readonly string[]): string {
  return settings.map((name) => `<${name}><const/></${name}>`).join('');
}

function atMost(setting: string, max: number): string {
  return `<${setting}><min>1</min><max>${max}</max></${setting}>`; // 0 would be no limit.
}

/**
 * Tells the row policy which workspace a session sees. chDB takes no settings of our own making
 * (`custom_settings_prefixes` is not read there), so this is one of the engine's that does nothing else
 * here: it names a table for a dialect that FIXED_SETTINGS rules out.
 */
export const WORKSPACE_SETTING = 'promql_table';
const ALL_WORKSPACES = '*';

/** Settings that each session of `user` begins with. */
export function initialSettings({ settings, workspace }: User): Record<string, string | number> {
  return { ...settings, [WORKSPACE_SETTING]: workspace ?? ALL_WORKSPACES };
}

/**
 * The rows that the views show. They are read as the views' owner, and this is its row policy: ClickHouse
 * applies it to a row before anything that a query says, so that not even an expression that throws tells
 * of another workspace's rows, or of those past their retention. Without the setting there are none.
 */
const VISIBLE_WORKSPACES = `(getSettingOrDefault('${WORKSPACE_SETTING}', '') = '${ALL_WORKSPACES}' OR workspace_id = getSettingOrDefault('${WORKSPACE_SETTING}', ''))`;
const VISIBLE_ROWS = `${VISIBLE_WORKSPACES} AND ${retainedRows(VISIBLE_WORKSPACES)}`;

const VIEWS_OWNER_READS = [
  TABLES.events,
  TABLES.retentionWindows,
  VIEWS.retainedFrom,
  VIEWS.visibleEvents,
  VIEWS.visibleChain,
  TABLES.anchors,
  TABLES.anchorBatches,
  VIEWS.visibleAnchors,
];

/** With these an analyst's query could use more memory than is counted, more threads, or more stack than there is. */
const ANALYST_FIXED_SETTINGS = ['max_untracked_memory', 'max_parser_depth', 'max_parser_backtracks'];
const MAX_ANALYST_THREADS = 16;

/** Every session begins in the database `default`, which stays empty. */
const IN_DEFAULT_DATABASE = 'GRANT SHOW DATABASES ON default.*';

/**
 * Another dialect would be parsed differently from how we looked at it; the others name files or
 * servers that the engine reads or writes while it formats.
 */
const FIXED_SETTINGS = [
  // Its entries are told apart by user and text, and we all are one user of the engine: it would answer one
  // workspace's analyst with what another's had asked.
  'use_query_cache',
  // With 0 the engine never comes back from its first query, nor to any other.
  'interactive_delay',
  // We all are one user of the engine: what a query said here would be everybody's limit.
  'max_memory_usage_for_user',
  'dialect',
  'implicit_select',
  'output_format_schema',
  'format_schema',
  'format_schema_source',
  'format_template_row',
  'format_template_resultset',
  'format_avro_schema_registry_url',
];
