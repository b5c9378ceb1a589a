#!/usr/bin/env node
import { readFileSync } from 'node:fs';
import { Argument, Command, Option } from 'commander';
import { DEFAULT_PLAN, PLAN_NAMES, type Plan } from '../control/plans.ts';
import { createTerminal, describeFailure, failureAsJson } from './terminal.ts';

/** 0 done · 1 failed · 2 wrong usage. */
const FAILED = 1;
const WRONG_USAGE = 2;

const terminal = createTerminal();

/** Commands load what they need when they run: a role must not carry what only another one uses. */
function program(): Command {
  const root = new Command('immutable')
    .description('Audit log: events over HTTP, a hash chain per workspace, provable to anyone.')
    .version(version(), '--version', 'print the version')
    .helpOption('-h, --help', 'show this')
    .helpCommand(false)
    .addHelpText(
      'after',
      '\nSettings are environment variables (IMMUTABLE_…), or a file that IMMUTABLE_CONFIG names; see docs/operations.md.\nExit codes: 0 done, 1 failed, 2 wrong usage.',
    )
    .exitOverride(({ exitCode }) => process.exit(exitCode === 0 ? 0 : WRONG_USAGE));

  root.commandsGroup('Run:');
  root
    .command('up')
    .description('everything on this machine, embedded NATS and ClickHouse included, until Ctrl-C')
    .option('--json', 'print the credentials as JSON when ready')
    .action(async (options: { json?: true }) => {
      const { up } = await import('./up.ts');
      await up(await config(), terminal, { json: options.json ?? false });
    });
  for (const [name, description] of ROLES) {
    root
      .command(name)
      .description(description)
      .action(() => runRole(name));
  }
  root
    .command('migrate')
    .description('make or update tables and streams (IMMUTABLE_CLICKHOUSE_ADMIN_URL, IMMUTABLE_NATS_URL)')
    .option('--json', 'print the result as JSON')
    .action(async (options: { json?: true }) => {
      const { migrateStores } = await import('./manage.ts');
      await migrateStores(await config(), terminal, { json: options.json ?? false });
    });

  root.commandsGroup('Manage:');
  addWorkspaceCommands(root);
  addKeyCommands(root);
  addAnalystCommands(root);
  addRetentionCommands(root);

  root.commandsGroup('Try:');
  root
    .command('demo')
    .description('send realistic events: deployments, configuration changes, secret rotations, incidents')
    .option('--events <number>', 'how many', wholeNumber, 3_000)
    .option('--url <url>', 'where the API is (default: the running stack)')
    .option('--key <api key>', 'of the workspace that gets them (default: of the running stack)')
    .option('--json', 'print the summary as JSON')
    .action(async (options: { events: number; url?: string; key?: string; json?: true }) => {
      const { demo } = await import('./demo.ts');
      await demo(await config(), terminal, { ...options, json: options.json ?? false });
    });
  return root;
}

const ROLES = [
  ['serve', 'ingest and query on one port'],
  ['ingest', 'accept events: POST /api/v1/events, /api/v1/events/batch'],
  ['query', 'answer: GET /api/v1/events, /api/v1/verify'],
  ['chain', 'order accepted events, extend the chains, store them'],
  ['chdb', 'the embedded ClickHouse (started by "up")'],
] as const;
type Role = (typeof ROLES)[number][0];

async function runRole(name: Role): Promise<void> {
  if (name === 'chdb') {
    const { runChdb } = await import('../infra/chdb/main.ts');
    return await runChdb();
  }
  const { runProcess } = await import('./process.ts');
  const settings = await config();
  if (name === 'chain') {
    const { startChainRole } = await import('./chain.ts');
    return await runProcess(name, settings, startChainRole);
  }
  const { startApiRole } = await import('./serve.ts');
  await runProcess(name, settings, (context) => startApiRole(context, name));
}

function addWorkspaceCommands(root: Command): void {
  const workspace = root.command('workspace').description('workspaces, their plans and retention');
  workspace
    .command('create <name>')
    .description('make a workspace and a key for it, which is shown once')
    .addOption(new Option('--plan <plan>', 'what it may have').choices([...PLAN_NAMES]).default(DEFAULT_PLAN))
    .option('--json', 'print it as JSON')
    .action(async (name: string, options: { plan: Plan; json?: true }) => {
      const { createWorkspaceCommand } = await import('./manage.ts');
      const { plan, json = false } = options;
      await createWorkspaceCommand(await config(), terminal, { name, plan, json });
    });
  workspace
    .command('list')
    .description('all workspaces, oldest first, with how long each keeps its events and why')
    .option('--json', 'print them as JSON')
    .action(async (options: { json?: true }) => {
      const { listWorkspacesCommand } = await import('./manage.ts');
      await listWorkspacesCommand(await config(), terminal, { json: options.json ?? false });
    });
  workspace
    .command('plan <workspace>')
    .addArgument(new Argument('<plan>').choices([...PLAN_NAMES]))
    .description('put it on another plan; of its limits, retention is enforced so far')
    .option('--json', 'print the workspace as JSON')
    .action(async (id: string, plan: Plan, options: { json?: true }) => {
      const { workspacePlanCommand } = await import('./retention.ts');
      await workspacePlanCommand(await config(), terminal, {
        workspace: id,
        plan,
        json: options.json ?? false,
      });
    });
  workspace
    .command('retention <workspace> <days>')
    .description(
      'keep its events for this many days, "unlimited", or as long as its "plan" says; older ones are hidden at once',
    )
    .option('--json', 'print the workspace as JSON')
    .action(async (id: string, days: string, options: { json?: true }) => {
      const { workspaceRetentionCommand } = await import('./retention.ts');
      await workspaceRetentionCommand(await config(), terminal, {
        workspace: id,
        days: days === 'plan' ? days : days === 'unlimited' ? null : wholeNumber(days),
        json: options.json ?? false,
      });
    });
  workspace
    .command('hold <workspace>')
    .description('legal hold: nothing is hidden or removed, whatever the retention says')
    .option('--reason <text>', 'why; wanted unless it is released')
    .option('--release', 'end the hold')
    .option('--json', 'print the workspace as JSON')
    .action(async (id: string, options: { reason?: string; release?: true; json?: true }) => {
      const { workspaceHoldCommand } = await import('./retention.ts');
      await workspaceHoldCommand(await config(), terminal, {
        workspace: id,
        reason: options.release ? undefined : (options.reason ?? ''),
        json: options.json ?? false,
      });
    });
}

function addAnalystCommands(root: Command): void {
  const analyst = root.command('analyst').description('users who read events in SQL (docs/sql.md)');
  analyst
    .command('create')
    .description(
      'show the user that reads one workspace, or the statements that make one on a ClickHouse server',
    )
    .requiredOption('--workspace <id>', 'whose events it reads')
    .option('--json', 'print it as JSON')
    .action(async (options: { workspace: string; json?: true }) => {
      const { createAnalystCommand } = await import('./analyst.ts');
      await createAnalystCommand(await config(), terminal, { ...options, json: options.json ?? false });
    });
  analyst
    .command('rotate <workspace>')
    .description('end its password at once, and show another')
    .option('--json', 'print it as JSON')
    .action(async (workspace: string, { json = false }: { json?: boolean }) => {
      const { rotateAnalystCommand } = await import('./analyst.ts');
      await rotateAnalystCommand(await config(), terminal, { workspace, json });
    });
  analyst
    .command('revoke <workspace>')
    .description('end its password at once; "rotate" gives it another')
    .option('--json', 'print it as JSON')
    .action(async (workspace: string, { json = false }: { json?: boolean }) => {
      const { revokeAnalystCommand } = await import('./analyst.ts');
      await revokeAnalystCommand(await config(), terminal, { workspace, json });
    });
}

function addRetentionCommands(root: Command): void {
  const retention = root.command('retention').description('keep events for as long as they shall be kept');
  retention
    .command('run')
    .description(
      'archive what is past its retention, read it back, and remove it (by itself at 03:00 UTC under "up")',
    )
    .option('--json', 'print the result as JSON')
    .action(async (options: { json?: true }) => {
      const { retentionRunCommand } = await import('./retention.ts');
      await retentionRunCommand(await config(), terminal, { json: options.json ?? false });
    });
  const archive = root.command('archive').description('what the retention has removed');
  archive
    .command('list [workspace]')
    .description('all archives, or those of one workspace')
    .option('--json', 'print their manifests as JSON')
    .action(async (workspace: string | undefined, options: { json?: true }) => {
      const { archiveListCommand } = await import('./retention.ts');
      await archiveListCommand(await config(), terminal, { workspace, json: options.json ?? false });
    });
  for (const { name, description, run } of ARCHIVE_COMMANDS) {
    archive
      .command(`${name} <archive>`)
      .description(description)
      .option('--manifest <file>', 'of an archive that is a file (default: the one beside it)')
      .option('--json', 'print the result as JSON')
      .action(async (file: string, options: { manifest?: string; json?: true }) => {
        const given = { archive: file, manifest: options.manifest, json: options.json ?? false };
        await run(await import('./retention.ts'), given);
      });
  }
}

type RetentionCommands = typeof import('./retention.ts');
interface ArchiveArguments {
  archive: string;
  manifest: string | undefined;
  json: boolean;
}

const ARCHIVE_COMMANDS = [
  {
    name: 'verify',
    description: 'check an archive, offline where it is a file',
    run: async (commands: RetentionCommands, given: ArchiveArguments) =>
      await commands.archiveVerifyCommand(await config(), terminal, given),
  },
  {
    name: 'restore',
    description: 'check an archive and bring its events back for reading, for 30 days',
    run: async (commands: RetentionCommands, given: ArchiveArguments) =>
      await commands.archiveRestoreCommand(await config(), terminal, given),
  },
];

function addKeyCommands(root: Command): void {
  const key = root.command('key').description('make, list and revoke API keys');
  key
    .command('create <workspace>')
    .description('make a key, which is shown once')
    .option('--scope <scope...>', 'ingest, read, manage', ['ingest', 'read'])
    .option('--label <text>', 'what it is for', '')
    .option('--expires <time>', 'when it ends by itself, such as 2027-01-31T00:00:00Z')
    .option('--json', 'print it as JSON')
    .action(
      async (
        workspace: string,
        options: { scope: string[]; label: string; expires?: string; json?: true },
      ) => {
        const { createKeyCommand } = await import('./manage.ts');
        await createKeyCommand(await config(), terminal, {
          ...options,
          workspace,
          json: options.json ?? false,
        });
      },
    );
  key
    .command('list [workspace]')
    .description('all keys, or those of one workspace; never their tokens')
    .option('--json', 'print them as JSON')
    .action(async (workspace: string | undefined, options: { json?: true }) => {
      const { listKeysCommand } = await import('./manage.ts');
      await listKeysCommand(await config(), terminal, { workspace, json: options.json ?? false });
    });
  key
    .command('revoke <id>')
    .description('end a key, on every edge within a second')
    .option('--json', 'print it as JSON')
    .action(async (id: string, options: { json?: true }) => {
      const { revokeKeyCommand } = await import('./manage.ts');
      await revokeKeyCommand(await config(), terminal, { id, json: options.json ?? false });
    });
}

async function config() {
  const { loadConfig } = await import('../infra/config.ts');
  return loadConfig();
}

function wholeNumber(text: string): number {
  const number = Number(text);
  if (Number.isInteger(number) && number > 0) return number;
  terminal.say(`error: "${text}" is not a whole number above 0`);
  process.exit(WRONG_USAGE);
}

/** From package.json, which is above this file in the sources and in `dist`. */
function version(): string {
  for (const path of ['../package.json', '../../package.json']) {
    try {
      return String(JSON.parse(readFileSync(new URL(path, import.meta.url), 'utf8')).version);
    } catch {
      // One folder further up.
    }
  }
  return 'unknown';
}

try {
  await program().parseAsync();
  // What is left open (an idle socket, a timer of a library) must not keep a finished command alive.
  process.exit(0);
} catch (error) {
  const debugging = ['debug', 'trace'].includes(process.env.IMMUTABLE_LOG_LEVEL ?? '');
  terminal.say(process.argv.includes('--json') ? failureAsJson(error) : describeFailure(error, debugging));
  process.exit(FAILED);
}
