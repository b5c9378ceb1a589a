#!/usr/bin/env node
import { readFileSync } from 'node:fs';
import { Argument, Command, Option } from 'commander';
import { DEFAULT_PLAN, PLAN_NAMES, type Plan } from '../control/plans.ts';
import { createTerminal, describeFailure, failureAsJson } from './terminal.ts';
import type { WitnessArguments } from './witness.ts';

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
    .option('--local-chain', 'also a chain of this machine, with the contract, to rehearse anchoring')
    .option('--json', 'print the credentials as JSON when ready')
    .action(async ({ localChain = false, json = false }: { localChain?: boolean; json?: boolean }) => {
      const { up } = await import('./up.ts');
      await up(await config(), terminal, { localChain, json });
    });
  for (const [name, description] of ROLES) {
    const role = root
      .command(name)
      .description(description)
      .action(() => runRole(name));
    if (name === 'tree') addTreeCommands(role);
    if (name === 'anchor') addAnchorCommands(role);
  }
  addWitnessCommand(root);
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
  addSigningKeyCommands(root);
  addRetentionCommands(root);

  root.commandsGroup('Verify:');
  addVerifyCommand(root);

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
  ['tree', 'grow the Merkle tree of each workspace, sign checkpoints'],
  ['anchor', 'anchor every day: one root of all trees, in one transaction'],
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
  if (name === 'tree') {
    const { startTreeRole } = await import('./tree.ts');
    return await runProcess(name, settings, startTreeRole);
  }
  if (name === 'anchor') {
    const { startAnchorRole } = await import('./anchor.ts');
    return await runProcess(name, settings, startAnchorRole);
  }
  const { startApiRole } = await import('./serve.ts');
  await runProcess(name, settings, (context) => startApiRole(context, name));
}

function addWitnessCommand(root: Command): void {
  root
    .command('witness')
    .description(
      "cosign the checkpoints of other people's logs; needs no NATS and no ClickHouse (docs/witness.md)",
    )
    .option('--name <name>', 'of this witness, such as witness.example.com/w1; needed at the first start')
    .option(
      '--directory <path>',
      'where it keeps key and checkpoints (default: "witness" in the data directory)',
    )
    .option('--host <address>', 'where it listens (default: IMMUTABLE_HOST, 127.0.0.1)')
    .option('--port <number>', 'where it listens (default: IMMUTABLE_PORT, 8080)', wholeNumber)
    .option('--policy <file>', 'follow the logs of a policy file')
    .option('--log <vkey>', 'follow this log; may be repeated', collect)
    .option(
      '--log-key <base64>',
      'public key of all logs below the --log-origin; both may be repeated',
      collect,
    )
    .option('--log-origin <origin>', 'follow all logs <origin>/<workspace id>', collect)
    .option('--print-key', 'print the verifier key of this witness, made if need be, and end')
    .action(async (options: WitnessArguments) => {
      const { witnessCommand } = await import('./witness.ts');
      await witnessCommand(await config(), terminal, options);
    });
}

function collect(value: string, before: string[] = []): string[] {
  return [...before, value];
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
    .command('public-log <workspace> <on|off>')
    .description('let everybody read its checkpoint and tiles, which hold nothing but hashes')
    .option('--json', 'print the workspace as JSON')
    .action(async (id: string, state: string, options: { json?: true }) => {
      const { publicLogCommand } = await import('./manage.ts');
      await publicLogCommand(await config(), terminal, {
        workspace: id,
        isPublic: onOrOff(state),
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

function addTreeCommands(tree: Command): void {
  tree
    .command('rebuild [workspace]')
    .description('make Merkle trees again from the events, and mend tiles that are missing or wrong')
    .option('--check', 'write nothing; end with 1 if a tile is missing or wrong')
    .option('--json', 'print the result as JSON')
    .action(async (workspace: string | undefined, options: { check?: true; json?: true }) => {
      const { treeRebuildCommand } = await import('./tree-rebuild.ts');
      await treeRebuildCommand(await config(), terminal, {
        workspace,
        check: options.check ?? false,
        json: options.json ?? false,
      });
    });
}

function addAnchorCommands(anchor: Command): void {
  addAnchorDeployCommand(anchor);
  anchor
    .command('run')
    .description(
      'make the anchors that are due, try those again that failed, and wait for the chain (by itself at 00:05 UTC under "up")',
    )
    .addOption(
      new Option('--period <day>', 'that day alone, such as 2026-11-23, if it is the next').conflicts('now'),
    )
    .option('--now', 'everything that is signed at this moment, without waiting for midnight')
    .option('--json', 'print the anchors as JSON')
    .action(async (options: { period?: string; now?: true; json?: true }) => {
      const { anchorRunCommand } = await import('./anchor-commands.ts');
      await anchorRunCommand(await config(), terminal, {
        period: options.period,
        now: options.now ?? false,
        json: options.json ?? false,
      });
    });
  anchor
    .command('list')
    .description('all anchors, newest first, and how each stands with the chain')
    .option('--json', 'print them as JSON')
    .action(async (options: { json?: true }) => {
      const { anchorListCommand } = await import('./anchor-commands.ts');
      await anchorListCommand(await config(), terminal, { json: options.json ?? false });
    });
}

function addAnchorDeployCommand(anchor: Command): void {
  anchor
    .command('deploy')
    .description('deploy the contract to the chain that the settings name; each call makes another one')
    .option('--owner <address>', 'may anchor, and decides who else may (default: the account that pays)')
    .option('--submitter <address>', 'may anchor beside the owner')
    .option('--json', 'print the deployment as JSON')
    .action(async (options: { owner?: string; submitter?: string; json?: true }) => {
      const { anchorDeploy } = await import('./anchor-deploy.ts');
      await anchorDeploy(await config(), terminal, { ...options, json: options.json ?? false });
    });
}

function addSigningKeyCommands(root: Command): void {
  const key = root.command('signing-key').description('the keys that checkpoints are signed with');
  key
    .command('list')
    .description('all keys there ever were, newest first')
    .option('--workspace <id>', 'as verifier keys of its log, to be pinned')
    .option('--json', 'print them as JSON')
    .action(async (options: { workspace?: string; json?: true }) => {
      const { listSigningKeysCommand } = await import('./signing-key.ts');
      await listSigningKeysCommand(await config(), terminal, {
        workspace: options.workspace,
        json: options.json ?? false,
      });
    });
  key
    .command('rotate')
    .description('sign with a new key from now on; the one before signs beside it for a while')
    .option('--overlap-days <number>', 'for how long', count, 30)
    .option('--json', 'print all keys as JSON')
    .action(async (options: { overlapDays: number; json?: true }) => {
      const { rotateSigningKeyCommand } = await import('./signing-key.ts');
      await rotateSigningKeyCommand(await config(), terminal, { ...options, json: options.json ?? false });
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

interface VerifyArguments {
  policy?: string;
  verifierKey?: string[];
  logKey?: string[];
  logOrigin?: string;
  rpc?: string;
  chainId?: number;
  contract?: string;
  manifest?: string;
  keyFile?: string;
  state?: string;
  new?: true;
  watch?: number;
  pin?: true;
  redact?: true;
  json?: true;
}

/** Needs no installation: an auditor runs it anywhere. */
function addVerifyCommand(root: Command): void {
  const collect = (value: string, before: string[] = []) => [...before, value];
  root
    .command('verify <file|url>')
    .description('check evidence, an export, an archive or a whole live log (docs/verify.md)')
    .option('--policy <file>', 'trust the logs and witnesses of this policy (C2SP tlog-policy)')
    .option('--verifier-key <key>', 'trust this key for the log of its name; may be repeated', collect)
    .option('--log-key <base64>', 'trust this key for every log of an install; may be repeated', collect)
    .option('--log-origin <name>', 'the install that --log-key speaks for')
    .option('--chain-id <number>', 'where evidence must be anchored; Base is 8453', wholeNumber)
    .option('--contract <address>', 'on that chain, to which the roots are given')
    .option('--rpc <url>', 'ask this node of the chain whether the root is there (docs/verify-on-chain.md)')
    .option('--manifest <file>', 'of an export or archive (default: the one beside it)')
    .option('--key-file <file>', 'with the API key of a live log (default: IMMUTABLE_API_KEY)')
    .option('--state <file>', 'where a live log is remembered (default: one for each address)')
    .option('--new', 'of a live log, only what the last visit has not seen')
    .option(
      '--watch <seconds>',
      'visit a live log again and again, until something does not hold',
      wholeNumber,
    )
    .option('--redact', 'print the evidence without its personal data; it proves as much')
    .option('--pin', 'print a policy with the keys that a live log publishes, for you to check')
    .option('--json', 'print the result as JSON')
    .addHelpText(
      'after',
      '\nTrust comes from you alone, never from what is checked: without --policy or a key the signer is unknown.\nExit codes: 0 everything holds, 1 something does not, 2 unknown signer or wrong usage.',
    )
    .action(
      async (target: string, { verifierKey, logKey, new: onlyNew, watch, ...options }: VerifyArguments) => {
        const { pinCommand, redactCommand, verifyCommand } = await import('./verify/command.ts');
        const given = { ...options, target, keyFile: options.keyFile, json: options.json ?? false };
        if (options.pin) process.exitCode = await pinCommand(terminal, given);
        else if (options.redact) process.exitCode = await redactCommand(terminal, given);
        else {
          const trust = { verifierKeys: verifierKey ?? [], logKeys: logKey ?? [] };
          const live = { onlyNew: onlyNew ?? false, watchSeconds: watch };
          process.exitCode = await verifyCommand(terminal, { ...given, ...trust, ...live });
        }
      },
    );
}

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

function count(text: string): number {
  return text === '0' ? 0 : wholeNumber(text);
}

function onOrOff(text: string): boolean {
  if (text === 'on' || text === 'off') return text === 'on';
  terminal.say(`error: "${text}" is neither on nor off`);
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
  process.exit();
} catch (error) {
  const debugging = ['debug', 'trace'].includes(process.env.IMMUTABLE_LOG_LEVEL ?? '');
  terminal.say(process.argv.includes('--json') ? failureAsJson(error) : describeFailure(error, debugging));
  process.exit(FAILED);
}
