/**
 * What somebody who holds the password of a workspace's analyst might try. Of every attempt, whatever it is
 * expected to do, the suite also demands that the answer holds none of the secrets that it planted, that the
 * analyst still sees its own events and no other's afterwards, and that nothing was changed.
 */
export interface Attempt {
  /** Sent as the body of a POST, unless `request` says otherwise. */
  sql: string;
  /** `refused`: an exception, whose code may be given. Else the answer, as TSV. */
  expected: 'refused' | { code: number | readonly number[] } | { answer: string | RegExp };
  /** Where the embedded server and a ClickHouse server differ, and for good reason. */
  only?: 'embedded' | 'server';
  request?: {
    method?: 'GET' | 'POST' | 'PUT';
    /** Of the URL, percent-encoded; `{name}` and `{password}` are the analyst's. */
    search?: string;
    headers?: Record<string, string>;
    /** Instead of the SQL. */
    body?: string | Uint8Array<ArrayBuffer>;
    anonymous?: true;
  };
}

/** Rows that each of the two workspaces has. */
export const EVENTS_A_WORKSPACE = 300;
export const WORKSPACE = 'ws_aaaaaaaaaaaaaaaa';
export const OTHER_WORKSPACE = 'ws_bbbbbbbbbbbbbbbb';
/** Stands in every text of the other workspace, in what an operator was asked, and in no answer. */
export const SECRET = 'bee-secret';
/** Finds it, without being it: an error repeats the statement. */
const LIKE_SECRET = `LIKE '%bee_secret%'`;

const EVENTS = 'audit_events';
const none = (sql: string): Attempt => ({ sql, expected: { answer: '0\n' } });
/** A server allows it, and means something else by it or nothing. */
const embedded = (attempt: Attempt): Attempt => ({ ...attempt, only: 'embedded' });
const refused = (sql: string): Attempt => ({ sql, expected: 'refused' });
const own = (sql: string): Attempt => ({ sql, expected: { answer: `${EVENTS_A_WORKSPACE}\n` } });
const search = (text: string, expected: Attempt['expected'], sql = 'SELECT 1'): Attempt => ({
  sql,
  expected,
  request: { search: text },
});

/** Other tables, and the same table by other ways. */
const HIDDEN_TABLES = [
  'events',
  'quarantine',
  'erasures',
  'boundaries',
  'schema_migrations',
  'restored_events',
  'retention_windows',
  'retained_from',
  'anchors',
  'anchor_batches',
  'alerts',
  'visible_anchors',
].flatMap((table) => [
  refused(`SELECT * FROM immutable.${table}`),
  refused(`SELECT count() FROM immutable.\`${table}\``),
  refused(`DESCRIBE TABLE immutable.${table}`),
  refused(`SHOW CREATE TABLE immutable.${table}`),
  refused(`SELECT * FROM (SELECT * FROM ${EVENTS}) AS a, immutable.${table} AS b`),
]);

const OTHER_WORKSPACES: Attempt[] = [
  none(`SELECT count() FROM ${EVENTS} WHERE workspace_id = '${OTHER_WORKSPACE}'`),
  none(`SELECT count() FROM audit_chain WHERE workspace_id != '${WORKSPACE}'`),
  none(`SELECT countIf(body LIKE '%${OTHER_WORKSPACE}%') FROM audit_chain`),
  own(`SELECT count() FROM ${EVENTS} WHERE 1 OR workspace_id = '${OTHER_WORKSPACE}'`),
  own(`SELECT count() FROM (SELECT * FROM ${EVENTS} UNION DISTINCT SELECT * FROM ${EVENTS})`),
  own(`SELECT count() FROM ${EVENTS} AS a JOIN ${EVENTS} AS b ON a.seq = b.seq`),
  own(`SELECT count() FROM ${EVENTS} AS a FULL JOIN audit_chain AS b USING (workspace_id, seq)`),
  own(`SELECT count() FROM ${EVENTS} SETTINGS enable_analyzer = 0`),
  own(`SELECT count() FROM ${EVENTS} SETTINGS query_plan_enable_optimizations = 0`),
  own(
    `SELECT count() FROM ${EVENTS} SETTINGS apply_row_policy_after_final = 1, optimize_use_projections = 1`,
  ),
  own(`SELECT count() FROM ${EVENTS} SETTINGS additional_table_filters = {'immutable.audit_events': '1'}`),
  own(`SELECT count() FROM ${EVENTS} SETTINGS additional_table_filters = {'immutable.events': '1'}`),
  own(`SELECT count() FROM ${EVENTS} SETTINGS enable_parallel_replicas = 1, max_parallel_replicas = 2`),
  // Whether a row of another workspace exists must not show by an error either.
  own(`SELECT count() FROM ${EVENTS} WHERE NOT throwIf(actor_name ${LIKE_SECRET})`),
  own(`SELECT count() FROM ${EVENTS} WHERE intDiv(1, actor_name NOT ${LIKE_SECRET}) = 1`),
  own(
    `SELECT count() FROM ${EVENTS} WHERE NOT throwIf(metadata['note'] ${LIKE_SECRET}) SETTINGS enable_analyzer = 0`,
  ),
  own(
    `SELECT count() FROM ${EVENTS} WHERE NOT throwIf(workspace_id != '${WORKSPACE}') SETTINGS query_plan_merge_filters = 1, optimize_move_to_prewhere = 1`,
  ),
  own(
    `SELECT count() FROM ${EVENTS} WHERE NOT throwIf(actor_name ${LIKE_SECRET}) SETTINGS short_circuit_function_evaluation = 'disable'`,
  ),
  own(`SELECT countIf(NOT throwIf(private ${LIKE_SECRET})) FROM audit_chain`),
  {
    sql: `SELECT uniqExact(workspace_id), any(workspace_id) FROM ${EVENTS}`,
    expected: { answer: `1\t${WORKSPACE}\n` },
  },
  { sql: `SELECT max(seq), min(seq) FROM ${EVENTS}`, expected: { answer: `${EVENTS_A_WORKSPACE}\t1\n` } },
  {
    sql: `EXPLAIN ESTIMATE SELECT * FROM ${EVENTS} WHERE workspace_id = '${OTHER_WORKSPACE}'`,
    expected: { answer: /^(immutable\tevents\t0\t0\t0\n)?$/ },
  },
  refused(`SELECT count() FROM ${EVENTS} PREWHERE throwIf(actor_name ${LIKE_SECRET}) = 0`),
  refused(`SELECT min(actor_name) FROM ${EVENTS} SETTINGS use_query_cache = 1`),
  refused(`SELECT _part, _partition_id FROM ${EVENTS}`),
  refused(`SELECT search_text FROM ${EVENTS}`),
];

/** Anchors are of one workspace each; a tree, and how it stands, of those whose anchors are in it. */
const ANCHORS: Attempt[] = [
  {
    sql: 'SELECT count(), uniqExact(workspace_id), any(workspace_id), groupUniqArray(status) FROM audit_anchors',
    expected: { answer: `2\t1\t${WORKSPACE}\t['confirmed']\n` },
  },
  none(`SELECT count() FROM audit_anchors WHERE workspace_id = '${OTHER_WORKSPACE}'`),
  none(`SELECT count() FROM audit_anchors WHERE workspace_id != '${WORKSPACE}' SETTINGS enable_analyzer = 0`),
  none(`SELECT countIf(checkpoint LIKE '%${OTHER_WORKSPACE}%') FROM audit_anchors`),
  none(`SELECT count() FROM audit_anchors WHERE reason ${LIKE_SECRET}`),
  ...[
    `throwIf(reason ${LIKE_SECRET})`,
    `throwIf(status = 'failed')`,
    `throwIf(checkpoint ${LIKE_SECRET})`,
    `throwIf(workspace_id != '${WORKSPACE}')`,
  ].flatMap((condition) =>
    [
      '',
      ' SETTINGS enable_analyzer = 0',
      ' SETTINGS query_plan_merge_filters = 1, optimize_move_to_prewhere = 1',
      " SETTINGS short_circuit_function_evaluation = 'disable'",
      " SETTINGS additional_table_filters = {'immutable.anchor_batches': '1', 'immutable.anchors': '1'}",
      ' SETTINGS apply_row_policy_after_final = 1',
      ' SETTINGS final = 0',
    ].map(
      (settings): Attempt => ({
        sql: `SELECT count() FROM audit_anchors WHERE NOT ${condition}${settings}`,
        expected: { answer: '2\n' },
      }),
    ),
  ),
  {
    sql: `SELECT count() FROM ${EVENTS} AS a FULL JOIN audit_anchors AS b ON a.seq = b.size`,
    expected: { answer: `${EVENTS_A_WORKSPACE}\n` },
  },
  embedded(refused(`SELECT count() FROM audit_anchors SETTINGS promql_table = '*'`)),
  embedded(refused(`SELECT count() FROM (SELECT * FROM audit_anchors SETTINGS promql_table = '*')`)),
  refused(`INSERT INTO audit_anchors (id) VALUES ('x')`),
];

/** The setting that tells the embedded server's row policy whose events to show, by every road that settings go. */
const BINDING_SETTING = [
  refused(`SELECT count() FROM ${EVENTS} SETTINGS promql_table = '${OTHER_WORKSPACE}'`),
  refused(`SELECT count() FROM ${EVENTS} SETTINGS promql_table = '*'`),
  refused(`SELECT count() FROM ${EVENTS} SETTINGS max_threads = 1, promql_table = DEFAULT`),
  refused(`SELECT count() FROM ${EVENTS} SETTINGS promql_table = DEFAULT, promql_table = '*'`),
  refused(`SELECT count() FROM ${EVENTS} SETTINGS \`promql_table\` = '*'`),
  refused(`SELECT count() FROM ${EVENTS} SETTINGS "promql_table" = '*'`),
  refused(`SELECT count() FROM ${EVENTS} SETTINGS \`promql\\x5ftable\` = '*'`),
  refused(`SELECT count() FROM (SELECT * FROM ${EVENTS} SETTINGS promql_table = '*')`),
  refused(`SELECT count() FROM (SELECT * FROM ${EVENTS} SETTINGS \`promql\\x5ftable\` = '*')`),
  refused(`SELECT count() FROM (SELECT * FROM ${EVENTS} SETTINGS max_threads = 1, promql_table = '*')`),
  refused(`SELECT (SELECT count() FROM ${EVENTS} SETTINGS promql_table = '*')`),
  refused(`WITH a AS (SELECT * FROM ${EVENTS} SETTINGS promql_table = '*') SELECT count() FROM a`),
  refused(`SELECT count() FROM ${EVENTS} SETTINGS promql_table = '*' UNION ALL SELECT 1`),
  refused(`SELECT 1 UNION ALL SELECT count() FROM ${EVENTS} SETTINGS promql_table = '*'`),
  refused(`(SELECT count() FROM ${EVENTS} SETTINGS promql_table = '*')`),
  refused(
    `SELECT 1 WHERE 300 < (SELECT count() FROM view(SELECT * FROM ${EVENTS} SETTINGS promql_table = '*'))`,
  ),
  refused(`SELECT * FROM (EXPLAIN ESTIMATE SELECT * FROM ${EVENTS} SETTINGS promql_table = '*')`),
  refused(`EXPLAIN ESTIMATE SELECT * FROM ${EVENTS} SETTINGS promql_table = '*'`),
  refused(`EXPLAIN PIPELINE SELECT * FROM ${EVENTS} SETTINGS promql_table = '*'`),
  refused(`SELECT count() FROM ${EVENTS} FORMAT TSV SETTINGS promql_table = '*'`),
  search('promql_table=*', 'refused'),
  search('promql_table=', 'refused'),
  search(`promql_table=${OTHER_WORKSPACE}`, 'refused'),
  search('PROMQL_TABLE=*', 'refused'),
  search('param_promql_table=*', { answer: `${EVENTS_A_WORKSPACE}\n` }, `SELECT count() FROM ${EVENTS}`),
  search(
    'param_s=promql_table',
    'refused',
    `SELECT count() FROM (SELECT * FROM ${EVENTS} SETTINGS {s:Identifier} = '*')`,
  ),
  refused("SET promql_table = '*'"),
  refused('SET promql_table = DEFAULT'),
].map(embedded);

/** Within a statement ClickHouse checks neither limits of settings nor whether they may be changed. */
const INNER_SETTINGS = [
  'SELECT * FROM (SELECT 1 SETTINGS max_execution_time = 0)',
  'SELECT 1 SETTINGS max_execution_time = 0 UNION ALL SELECT 2',
  'WITH a AS (SELECT 1 SETTINGS use_query_cache = 1) SELECT * FROM a',
  "SELECT * FROM (SELECT * FROM format(Template, 'a String', 'x') SETTINGS format_template_row = '/etc/passwd')",
  'SELECT (SELECT 1 SETTINGS readonly = 0)',
  'SELECT 1 IN (SELECT 1 SETTINGS max_threads = 4)',
  'SELECT 1 AS a INTERSECT SELECT 1 SETTINGS max_threads = 4 EXCEPT SELECT 2',
].map((sql) => embedded(refused(sql)));

/** With these the engine answers nobody any more, or limits everybody by what one query says. */
const STANDSTILL = [
  embedded(refused('SELECT 1 SETTINGS interactive_delay = 0')),
  embedded(search('interactive_delay=0', 'refused')),
  embedded(refused('SELECT 1 SETTINGS max_memory_usage_for_user = 1')),
  embedded(search('max_memory_usage_for_user=1', 'refused')),
  embedded(refused('SELECT 1 FORMAT TSV SETTINGS interactive_delay = 0')),
];

const TABLE_FUNCTIONS: Attempt[] = [
  ...[
    "file('/etc/passwd', LineAsString)",
    "file('/etc/passwd', 'LineAsString', 'line String')",
    "fileCluster('default', '/etc/passwd', LineAsString)",
    "url('http://127.0.0.1:1/', LineAsString)",
    "urlCluster('default', 'http://127.0.0.1:1/', LineAsString)",
    "url('file:///etc/passwd', LineAsString)",
    "s3('http://127.0.0.1:1/bucket/key', LineAsString)",
    "s3Cluster('default', 'http://127.0.0.1:1/bucket/key', LineAsString)",
    "gcs('http://127.0.0.1:1/bucket/key', LineAsString)",
    "azureBlobStorage('http://127.0.0.1:1/', 'c', 'b', 'a', 'a')",
    "hdfs('hdfs://127.0.0.1:1/x', TSV, 'a String')",
    "iceberg('http://127.0.0.1:1/x')",
    "deltaLake('http://127.0.0.1:1/x')",
    "icebergLocal('/etc')",
    "deltaLakeLocal('/etc')",
    "mysql('127.0.0.1:1', 'd', 't', 'u', 'p')",
    "postgresql('127.0.0.1:1', 'd', 't', 'u', 'p')",
    "mongodb('127.0.0.1:1', 'd', 'c', 'u', 'p', 'a String')",
    "redis('127.0.0.1:1', 'k', 'k String')",
    "sqlite('/etc/passwd', 't')",
    "sqlite('/tmp/immutable-never', 't')",
    "`sqlite`('/tmp/immutable-never', 't')",
    "odbc('DSN=x', 'd', 't')",
    "jdbc('x', 'd', 't')",
    "remote('127.0.0.1', 'immutable', 'events')",
    "remoteSecure('127.0.0.1', 'immutable', 'events')",
    "cluster('default', 'immutable', 'events')",
    "clusterAllReplicas('default', 'immutable', 'events')",
    "executable('id', TSV, 'a String')",
    "input('a String')",
    "merge('immutable', '.*')",
    "merge('immutable', '^events$')",
    "merge(REGEXP('.*'), '^events$')",
    "loop('immutable', 'events')",
    'loop(immutable.events)',
    "mergeTreeIndex('immutable', 'events')",
    "mergeTreeIndex('immutable', 'events', with_marks = true)",
    "mergeTreeProjection('immutable', 'events', 'positions')",
    "mergeTreeAnalyzeIndexes('immutable', 'events')",
    "mergeTreeTextIndex('immutable', 'events', 'search_text_index')",
    "dictionary('x')",
    "viewExplain('EXPLAIN', '', (SELECT * FROM immutable.events))",
    'view(SELECT * FROM immutable.events)',
    "eval('SELECT * FROM immutable.events')",
    "prometheusQuery('immutable', 'events', 'up', now())",
    "timeSeriesData('immutable', 'events')",
    "Python('x')",
    "python('x')",
    "fuzzQuery('SELECT * FROM immutable.events')",
  ].map((from) => refused(`SELECT * FROM ${from}`)),
  refused("DESCRIBE TABLE file('/etc/passwd', LineAsString)"),
  refused("DESCRIBE TABLE sqlite('/tmp/immutable-never', 't')"),
  refused("EXPLAIN SELECT * FROM sqlite('/tmp/immutable-never', 't')"),
  refused("EXPLAIN SELECT * FROM file('/etc/passwd', LineAsString)"),
  refused("EXISTS (SELECT * FROM file('/etc/passwd', LineAsString))"),
  refused("SELECT * FROM format(TSV, 'a String', (SELECT file('/etc/passwd')))"),
  { sql: "SELECT * FROM format(TSV, 'a String', 'x')", expected: { answer: /^x\n$|DB::Exception/ } },
  { sql: 'SELECT count() FROM numbers(1000)', expected: { answer: '1000\n' } },
];

const SCALAR_FUNCTIONS: Attempt[] = [
  ...[
    "file('/etc/passwd')",
    "FILE('/etc/passwd')",
    "`file`('/etc/passwd')",
    '"file"(\'/etc/passwd\')',
    "`\\x66ile`('/etc/passwd')",
    "/**/file/**/('/etc/passwd')",
    "arrayMap(x -> file(x), ['/etc/passwd'])",
    "file('/etc/pass' || 'wd', 'default')",
    "(SELECT file('/etc/passwd'))",
    "joinGet('immutable.events', 'body', 'x')",
    "dictGet('immutable.events', 'body', 1)",
    "catboostEvaluate('/etc/passwd', 1)",
    'addressToLine(1)',
    'demangle(addressToSymbol(1))',
    "getClientHTTPHeader('Authorization')",
  ].map((expression) => refused(`SELECT ${expression}`)),
  embedded(refused('SELECT showCertificate()')),
  embedded(refused("SELECT hasColumnInTable('immutable', 'events', 'body')")),
  refused("SELECT * APPLY(file) FROM (SELECT '/etc/passwd' AS p)"),
  refused("WITH '/etc/passwd' AS p SELECT file(p)"),
  refused("SELECT 1 WHERE file('/etc/passwd') LIKE '%root%'"),
  refused("SELECT 1 ORDER BY file('/etc/passwd')"),
  refused("SELECT COLUMNS('x') APPLY (x -> file(x)) FROM (SELECT '/etc/passwd' AS x)"),
  { sql: "SELECT 'file(\\'/etc/hosts\\')'", expected: { answer: "file(\\'/etc/hosts\\')\n" } },
];

const STATEMENTS = [
  `INSERT INTO ${EVENTS} (seq) VALUES (1)`,
  'INSERT INTO immutable.events (seq) VALUES (1)',
  'INSERT INTO immutable.quarantine SELECT * FROM immutable.quarantine',
  'INSERT INTO immutable.erasures (workspace_id, seq, id) FORMAT TSV\nx\t1\ty\n',
  "INSERT INTO FUNCTION file('/tmp/immutable-never', TSV, 'a String') SELECT 'x'",
  "INSERT INTO FUNCTION null('a String') SELECT 'x'",
  "SELECT 1 INTO OUTFILE '/tmp/immutable-never'",
  "SELECT 1 INTO OUTFILE '/tmp/immutable-never' TRUNCATE",
  "INSERT INTO immutable.events FROM INFILE '/etc/passwd' FORMAT LineAsString",
  'ALTER TABLE immutable.events DELETE WHERE 1',
  "ALTER TABLE immutable.events UPDATE salt = '' WHERE 1",
  `ALTER TABLE ${EVENTS} MODIFY QUERY SELECT 1`,
  'DELETE FROM immutable.events WHERE 1',
  'TRUNCATE TABLE immutable.events',
  'DROP TABLE immutable.events',
  `DROP VIEW ${EVENTS}`,
  'DROP DATABASE immutable',
  'DETACH TABLE immutable.events',
  'RENAME TABLE immutable.events TO immutable.other',
  'EXCHANGE TABLES immutable.events AND immutable.quarantine',
  'OPTIMIZE TABLE immutable.events FINAL',
  'CREATE TABLE immutable.mine (a Int8) ENGINE = Memory',
  "CREATE TABLE default.mine (a String) ENGINE = File(LineAsString, '/etc/passwd')",
  'CREATE TEMPORARY TABLE mine (a Int8)',
  'CREATE TEMPORARY TABLE mine AS SELECT * FROM immutable.events',
  'CREATE VIEW default.mine AS SELECT * FROM immutable.events',
  'CREATE VIEW default.mine DEFINER = immutable_views SQL SECURITY DEFINER AS SELECT * FROM immutable.events',
  `CREATE OR REPLACE VIEW ${EVENTS} AS SELECT * FROM immutable.events`,
  'CREATE MATERIALIZED VIEW default.mine ENGINE = Memory AS SELECT * FROM immutable.events',
  'CREATE FUNCTION mine AS (x) -> x',
  "CREATE DICTIONARY default.mine (a UInt64) PRIMARY KEY a SOURCE(CLICKHOUSE(TABLE 'events' DB 'immutable')) LAYOUT(FLAT()) LIFETIME(1)",
  "CREATE NAMED COLLECTION mine AS url = 'http://127.0.0.1:1/'",
  'CREATE DATABASE mine',
  'CREATE USER mine',
  'CREATE ROLE mine',
  'CREATE QUOTA mine',
  'CREATE ROW POLICY mine ON immutable.events USING 1 TO ALL',
  'DROP ROW POLICY immutable_workspace ON immutable.events',
  'GRANT ALL ON *.* TO CURRENT_USER',
  "ALTER USER default IDENTIFIED BY 'x'",
  'EXECUTE AS immutable_views SELECT count() FROM immutable.events',
  'EXECUTE AS default',
  'SYSTEM SHUTDOWN',
  'SYSTEM FLUSH LOGS',
  'SYSTEM DROP QUERY CACHE',
  'SYSTEM STOP MERGES',
  "BACKUP TABLE immutable.events TO File('/tmp/immutable-never')",
  "RESTORE TABLE immutable.events FROM File('/tmp/immutable-never')",
  'BEGIN TRANSACTION',
  'KILL MUTATION WHERE 1',
  'KILL QUERY WHERE 1',
  "KILL QUERY WHERE user = 'default' SYNC",
  'SHOW PROCESSLIST',
  'SHOW CREATE USER default',
  'SHOW CREATE ROW POLICY immutable_workspace ON immutable.events',
  'SHOW ACCESS',
  'CHECK TABLE immutable.events',
  'WATCH immutable.events',
  "COPY immutable.events TO '/tmp/immutable-never'",
  'SELECT 1; SELECT 2',
  `SELECT 1;\nDROP TABLE immutable.events`,
  'SELECT 1 /* */; TRUNCATE TABLE immutable.events -- x',
].map(refused);

const SYSTEM = [
  'parts',
  'parts_columns',
  'query_log',
  'query_thread_log',
  'text_log',
  'trace_log',
  'processes',
  'mutations',
  'merges',
  'users',
  'roles',
  'role_grants',
  'grants',
  'row_policies',
  'quotas',
  'quota_usage',
  'settings_profiles',
  'settings_profile_elements',
  'server_settings',
  'storage_policies',
  'disks',
  'clusters',
  'zookeeper',
  'errors',
  'crash_log',
  'stack_trace',
  'user_processes',
  'query_cache',
  'session_log',
  'named_collections',
  'dictionaries',
  'replicas',
  'data_skipping_indices',
  'projections',
  'detached_parts',
  'environment',
  'metrics',
  'asynchronous_metrics',
].map((table) => refused(`SELECT * FROM system.${table}`));

const SYSTEM_IN_DISGUISE: Attempt[] = [
  'SELECT * FROM `system`.`parts`',
  'SELECT * FROM "SYSTEM"."PARTS"',
  'SELECT * FROM `sys\\x74em`.processes',
  'SELECT * FROM system/**/./**/processes',
  'SELECT * FROM system -- x\n.processes',
  'WITH p AS (SELECT * FROM system.processes) SELECT * FROM p',
  'SELECT (SELECT groupArray(query) FROM system.processes)',
  'SELECT 1 IN (SELECT 1 FROM system.processes)',
  'SELECT * FROM information_schema.tables AS t, system.parts AS p',
  'DESCRIBE TABLE system.processes',
  'SHOW CREATE TABLE system.processes',
  'EXPLAIN SELECT * FROM system.processes',
].map(refused);

const METADATA: Attempt[] = [
  {
    sql: 'SELECT arraySort(groupArray(name)) FROM system.tables WHERE database = currentDatabase()',
    expected: { answer: "['audit_anchors','audit_chain','audit_events']\n" },
  },
  {
    sql: "SELECT count() FROM system.columns WHERE database = currentDatabase() AND table NOT IN ('audit_anchors', 'audit_chain', 'audit_events')",
    expected: { answer: '0\n' },
  },
  { sql: 'SHOW TABLES', expected: { answer: 'audit_anchors\naudit_chain\naudit_events\n' } },
  { sql: "SELECT count() FROM system.settings WHERE value LIKE '%bee_secret%'", expected: { answer: '0\n' } },
  { sql: 'SHOW GRANTS', expected: { answer: /^(?![\s\S]*(INSERT|ALTER|events\b(?<!audit_events)))/ } },
  // Whether a table is there is no secret; its contents are.
  { sql: 'EXISTS immutable.events', expected: { answer: /^[01]\n$|DB::Exception/ } },
];

const SETTINGS: Attempt[] = [
  ...[
    'readonly = 0',
    'readonly = 1 - 1',
    'max_execution_time = 0',
    'max_execution_time = 100000',
    'max_memory_usage = 0',
    'max_memory_usage = 1000000000000',
    'max_result_rows = 0',
    'max_result_bytes = 0',
    'max_temporary_data_on_disk_size_for_query = 0',
    'max_threads = 10000',
    'use_query_cache = 1',
  ].map((assignment) => refused(`SELECT 1 SETTINGS ${assignment}`)),
  ...[
    'max_execution_time = DEFAULT',
    'readonly = DEFAULT',
    'max_untracked_memory = 1000000000000',
    'max_parser_depth = 1000000',
    "profile = 'default'",
    "log_comment = 'x'",
    "dialect = 'prql'",
    "dialect = 'promql'",
    "output_format_schema = '/tmp/immutable-never'",
    "format_schema = '/etc/passwd'",
    "format_template_row = '/etc/passwd'",
    "format_template_resultset = '/etc/passwd'",
  ].map((assignment) => embedded(refused(`SELECT 1 SETTINGS ${assignment}`))),
  // Allowed, and of no use: what they would allow is refused.
  ...[
    'allow_ddl = 1',
    'allow_introspection_functions = 1',
    'allow_experimental_analyzer = 1',
    'allow_deprecated_error_prone_window_functions = 1',
    'max_threads = 4',
    'max_execution_time = 600',
  ].map(
    (assignment): Attempt => ({
      sql: `SELECT 1 SETTINGS ${assignment}`,
      expected: { answer: /^1\n$|DB::Exception/ },
    }),
  ),
  refused(
    "SELECT demangle('x'), addressToSymbol(1) SETTINGS allow_introspection_functions = 1 FORMAT Null SETTINGS readonly = 0",
  ),
  search('readonly=0', 'refused'),
  search('max_execution_time=0', 'refused'),
  search('max_memory_usage=0', 'refused'),
  embedded(search('max_untracked_memory=100000000000', 'refused')),
  embedded(search('profile=default', 'refused')),
  search('use_query_cache=1', 'refused'),
  embedded(search('log_comment=x', 'refused')),
  search('limit=0&offset=0', { answer: '1\n' }),
  search(`additional_result_filter=1`, { answer: '1\n' }),
];

const HTTP: Attempt[] = [
  search('role=admin', 'refused'),
  search('role=immutable_reader', 'refused'),
  search('user=admin&password=', 'refused'),
  search('user=admin&password={password}', 'refused'),
  {
    sql: 'SELECT 1',
    expected: 'refused',
    request: { search: 'user=admin&password={password}', anonymous: true },
  },
  {
    sql: 'SELECT 1',
    expected: 'refused',
    request: { search: 'user=analyst&password={password}', anonymous: true },
  },
  { sql: 'SELECT 1', expected: 'refused', request: { search: 'user={name}&password=', anonymous: true } },
  {
    sql: 'SELECT 1',
    expected: 'refused',
    request: { search: `user=analyst_${OTHER_WORKSPACE}&password={password}`, anonymous: true },
  },
  {
    sql: 'SELECT 1',
    expected: 'refused',
    request: { search: 'user=analyst_*&password={password}', anonymous: true },
  },
  {
    sql: 'SELECT 1',
    expected: 'refused',
    request: { search: 'user=analyst_&password={password}', anonymous: true },
  },
  {
    sql: 'SELECT 1',
    expected: 'refused',
    request: { search: 'user={name}%00&password={password}', anonymous: true },
  },
  {
    sql: 'SELECT 1',
    expected: 'refused',
    request: { search: 'user=immutable_views&password=', anonymous: true },
  },
  { sql: 'SELECT 1', expected: 'refused', request: { search: 'user=default&password=', anonymous: true } },
  {
    sql: 'SELECT 1',
    expected: 'refused',
    request: { headers: { 'X-ClickHouse-User': 'admin' }, anonymous: true },
  },
  {
    sql: 'SELECT 1',
    expected: 'refused',
    request: { headers: { 'X-ClickHouse-User': 'admin', 'X-ClickHouse-Key': 'x' } },
  },
  {
    sql: 'SELECT count() FROM events',
    expected: 'refused',
    request: { headers: { 'X-ClickHouse-Database': 'immutable' } },
  },
  search('database=immutable', 'refused', 'SELECT * FROM events'),
  search('database=system', 'refused', 'SELECT * FROM processes'),
  search('database=immutable', { answer: `${EVENTS_A_WORKSPACE}\n` }, 'SELECT count() FROM audit_events'),
  {
    ...search("query=SELECT%20file('/etc/passwd')", 'refused', ''),
    request: { search: "query=SELECT%20file('/etc/passwd')", method: 'GET' },
  },
  { sql: "('/etc/passwd')", expected: 'refused', request: { search: 'query=SELECT%20file' } },
  { sql: '1); DROP TABLE immutable.events', expected: 'refused', request: { search: 'query=SELECT%20(' } },
  search('param_t=events', 'refused', 'SELECT * FROM immutable.{t:Identifier}'),
  search('param_t=immutable.events', 'refused', 'SELECT * FROM {t:Identifier}'),
  search('param_d=system&param_t=processes', 'refused', 'SELECT * FROM {d:Identifier}.{t:Identifier}'),
  search("param_x=1'%20OR%20file('/etc/passwd')", { answer: /^1\\' OR file/ }, 'SELECT {x:String}'),
  search('param_x=/etc/passwd', 'refused', 'SELECT file({x:String})'),
  {
    sql: 'SELECT * FROM other',
    expected: 'refused',
    request: { search: 'other_structure=a+String&other_format=TSV' },
  },
  { ...search('default_format=Template&format_template_resultset=/etc/passwd', 'refused') },
  embedded(search('default_format=TSV%0d%0aX-Evil:1', 'refused')),
  search('default_format=../../etc/passwd', 'refused'),
  embedded(search('query_id=a%0ab', 'refused')),
  { sql: 'SELECT 1', expected: 'refused', request: { headers: { 'X-ClickHouse-Format': '../x' } } },
  { sql: 'SELECT 1', expected: 'refused', request: { headers: { 'Content-Encoding': 'gzip' } } },
  { sql: 'SELECT 1', expected: 'refused', request: { headers: { 'Content-Encoding': 'constructor' } } },
  { sql: `DROP TABLE immutable.events`, expected: 'refused', request: { method: 'PUT' } },
];

/** chDB has no sessions between requests, and takes no external data. */
const HTTP_EMBEDDED = [
  search('session_id=somebody-elses', 'refused'),
  search('compress=1', 'refused'),
  search('decompress=1', 'refused'),
  { ...refused('multipart'), request: externalData() },
].map(embedded);

function externalData(): NonNullable<Attempt['request']> {
  const boundary = 'immutable';
  const body = `--${boundary}\r\nContent-Disposition: form-data; name="other"; filename="other.tsv"\r\n\r\n1\n\r\n--${boundary}--\r\n`;
  return {
    search: `query=${encodeURIComponent('SELECT * FROM other')}&other_structure=a+String`,
    headers: { 'Content-Type': `multipart/form-data; boundary=${boundary}` },
    body,
  };
}

const TEXTS: Attempt[] = [
  refused('\u0000SELECT 1'),
  refused('SELECT 1\u0000; DROP TABLE immutable.events'),
  refused('SELECT * FROM immutable.\u0000events'),
  refused('ＳＥＬＥＣＴ 1'),
  refused("SeLeCt FiLe('/etc/passwd')"),
  refused("SELECT/**/file('/etc/passwd')"),
  refused("SELECT -- \nfile('/etc/passwd')"),
  refused("SELECT /* /* */ file('/etc/passwd') */ "),
  refused("SELECT #! x\n file('/etc/passwd')"),
  refused("SELECT $$x$$, file('/etc/passwd')"),
  refused("SELECT $a$x$a$, file('/etc/passwd')"),
  refused("SELECT '\\', file('/etc/passwd'), '"),
  refused('SELECT "a""b", `c``d`, file(\'/etc/passwd\')'),
  refused('(((SELECT * FROM immutable.events)))'),
  refused('FROM immutable.events SELECT *'),
  refused('TABLE immutable.events'),
  refused('SELECT * FROM IMMUTABLE.EVENTS'),
  {
    sql: 'SELECT 1',
    expected: 'refused',
    request: { body: new Uint8Array([0xff, 0xfe, 0x53, 0x00, 0x45, 0x00]) },
  },
  {
    sql: 'SELECT 1',
    expected: 'refused',
    request: { body: new Uint8Array([0xef, 0xbb, 0xbf, 0x44, 0x52, 0x4f, 0x50]) },
  },
];

/** Each ends in an exception within the time given, and others are served meanwhile. */
export const BOMBS: { name: string; sql: string; search?: string; withinMs: number; harmless?: true }[] = [
  {
    name: 'time',
    sql: 'SELECT count() FROM numbers(1e15) WHERE sipHash64(number) = 1',
    search: 'max_execution_time=2',
    withinMs: 15_000,
  },
  {
    name: 'time, as a scalar',
    sql: 'SELECT (SELECT count() FROM numbers_mt(1e15) WHERE sipHash64(number) = 1)',
    search: 'max_execution_time=2',
    withinMs: 15_000,
  },
  { name: 'memory', sql: 'SELECT groupArray(number) FROM numbers(1e12)', withinMs: 60_000 },
  {
    name: 'memory, in one value',
    sql: "SELECT length(repeat(repeat('x', 1000000), 100000))",
    withinMs: 60_000,
  },
  {
    name: 'memory, in one array',
    sql: 'SELECT length(arrayMap(x -> toString(x), range(10000000000)))',
    withinMs: 60_000,
  },
  {
    name: 'memory, by a join',
    sql: 'SELECT count() FROM numbers(1e9) a JOIN numbers(1e9) b ON a.number % 3 = b.number % 3 SETTINGS max_execution_time = 5',
    withinMs: 60_000,
  },
  {
    name: 'disk, by a sort',
    sql: "SELECT number, repeat('x', 1000) AS x FROM numbers(1e9) ORDER BY sipHash64(number) LIMIT 1e9 SETTINGS max_bytes_before_external_sort = 10000000, max_execution_time = 20",
    withinMs: 60_000,
  },
  { name: 'rows of the result', sql: 'SELECT number FROM numbers(11000000)', withinMs: 60_000 },
  { name: 'bytes of the result', sql: "SELECT repeat('x', 1000000) FROM numbers(2000)", withinMs: 60_000 },
  {
    name: 'recursion',
    sql: 'WITH RECURSIVE r AS (SELECT 1 AS n UNION ALL SELECT n + 1 FROM r) SELECT count() FROM r',
    withinMs: 60_000,
  },
  { name: 'nested brackets', sql: `SELECT ${'('.repeat(100_000)}1${')'.repeat(100_000)}`, withinMs: 15_000 },
  { name: 'nested arrays', sql: `SELECT ${'['.repeat(50_000)}${']'.repeat(50_000)}`, withinMs: 15_000 },
  {
    name: 'nested functions',
    sql: `SELECT ${'abs('.repeat(20_000)}1${')'.repeat(20_000)}`,
    withinMs: 15_000,
  },
  {
    name: 'nested queries',
    sql: `${'SELECT * FROM ('.repeat(5_000)}SELECT 1${')'.repeat(5_000)}`,
    withinMs: 15_000,
  },
  { name: 'a chain of operators', sql: `SELECT 1${' + 1'.repeat(60_000)}`, withinMs: 30_000 },
  { name: 'a text of 300 KiB', sql: `SELECT '${'x'.repeat(300 * 1024)}'`, withinMs: 15_000 },
  {
    name: 'a text of 20 MiB',
    sql: `SELECT '${'x'.repeat(20 * 1024 * 1024)}'`,
    search: 'max_query_size=100000000',
    withinMs: 15_000,
  },
  {
    name: 'exponential aliases',
    sql: `WITH ${Array.from({ length: 60 }, (_, i) => (i === 0 ? '1 AS a0' : `(a${i - 1}, a${i - 1}) AS a${i}`)).join(', ')} SELECT a59`,
    withinMs: 60_000,
  },
  {
    name: 'a regular expression',
    sql: `SELECT match(repeat('a', 100000), '${'(a?){1000}'.repeat(2)}a{1000}$')`,
    withinMs: 60_000,
    harmless: true,
  },
];

export const ATTEMPTS: readonly Attempt[] = [
  ...HIDDEN_TABLES,
  ...OTHER_WORKSPACES,
  ...ANCHORS,
  ...BINDING_SETTING,
  ...INNER_SETTINGS,
  ...STANDSTILL,
  ...TABLE_FUNCTIONS,
  ...SCALAR_FUNCTIONS,
  ...STATEMENTS,
  ...SYSTEM,
  ...SYSTEM_IN_DISGUISE,
  ...METADATA,
  ...SETTINGS,
  ...HTTP,
  ...HTTP_EMBEDDED,
  ...TEXTS,
];
