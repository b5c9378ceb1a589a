import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { randomBytes, randomUUID } from 'node:crypto';
import { closeSync, mkdirSync, mkdtempSync, openSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { CreateBucketCommand, S3Client } from '@aws-sdk/client-s3';
import { freePort } from './nats.ts';
import { pauseProcess } from './pause.ts';

/** Where infra/setup/radosgw.mjs puts it. */
export const RADOSGW_FOLDER = resolve(import.meta.dirname, '..', '..', '.immutable', 'radosgw');

const READY_TIMEOUT_MS = 30_000;

export interface TestS3 {
  endpoint: string;
  bucket: string;
  /** What the SDK's own chain finds when they are in the environment. */
  credentials: { AWS_ACCESS_KEY_ID: string; AWS_SECRET_ACCESS_KEY: string };
  /** As `IMMUTABLE_OBJECT_STORE_URL` would be. */
  url: string;
  /** A client of its own, to see what a store left behind. */
  client(): S3Client;
  kill9(): Promise<void>;
  /** Starts it again on the same port and files, ending it first if it runs. */
  restart(): Promise<void>;
  /** Lets it answer nothing, with its connections open, until it is resumed. */
  freeze(): Promise<void>;
  resume(): void;
  /** Ends the server and removes its files. */
  stop(): Promise<void>;
}

/**
 * The smallest Ceph there is, on free loopback ports and in a temporary folder, with a user and a bucket:
 * a monitor, one storage server that keeps the objects in memory, and the gateway, which speaks S3. What
 * is killed and restarted is the gateway.
 */
export async function startTestS3(): Promise<TestS3> {
  const folder = mkdtempSync(join(tmpdir(), 'immutable-s3-'));
  const endpoint = `http://127.0.0.1:${await freePort()}`;
  const monitor = `v2:127.0.0.1:${await freePort()}/0`;
  const credentials = {
    AWS_ACCESS_KEY_ID: 'test-access-key',
    AWS_SECRET_ACCESS_KEY: randomBytes(20).toString('hex'),
  };
  const running = new Set<ChildProcess>();
  // A test run that is cut short leaves no server behind.
  const killAll = () => {
    for (const child of running) child.kill('SIGKILL');
  };
  process.once('exit', killAll);

  function launch(name: string, args: string[]): ChildProcess {
    const output = openSync(join(folder, `${name}.log`), 'a');
    const [command, all] = programOf(folder, name, [...args, '--foreground']);
    const child = spawn(command, all, { stdio: ['ignore', output, output] });
    closeSync(output);
    running.add(child);
    child.once('exit', () => running.delete(child));
    return child;
  }

  async function startGateway(): Promise<ChildProcess> {
    const child = launch('radosgw', ['--name', 'client.rgw']);
    const deadline = performance.now() + READY_TIMEOUT_MS;
    while (!(await answers(endpoint))) {
      if (child.exitCode !== null || performance.now() > deadline) {
        killAll();
        throw new Error(`radosgw did not become ready; see ${folder}`);
      }
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
    return child;
  }

  makeCluster(folder, endpoint, monitor);
  launch('ceph-mon', ['--id', 'a']);
  launch('ceph-osd', ['--id', '0']);
  let gateway = await startGateway();
  runToEnd(folder, 'radosgw-admin', [
    ...['--name', 'client.rgw', 'user', 'create', '--uid=test', '--display-name=test'],
    `--access-key=${credentials.AWS_ACCESS_KEY_ID}`,
    `--secret=${credentials.AWS_SECRET_ACCESS_KEY}`,
  ]);
  const bucket = 'test-bucket';
  const client = () => clientFor(endpoint, credentials);
  await client().send(new CreateBucketCommand({ Bucket: bucket }));
  return {
    endpoint,
    bucket,
    credentials,
    url: `s3://${bucket}?endpoint=${endpoint}`,
    client,
    kill9: () => end(gateway),
    restart: async () => {
      await end(gateway);
      gateway = await startGateway();
    },
    freeze: async () => {
      if (gateway.pid === undefined) throw new Error('the gateway does not run');
      await pauseProcess(gateway.pid);
    },
    resume: () => gateway.kill('SIGCONT'),
    stop: async () => {
      process.off('exit', killAll);
      await Promise.all([...running].map(end));
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

function clientFor(endpoint: string, credentials: TestS3['credentials']): S3Client {
  return new S3Client({
    endpoint,
    region: 'us-east-1',
    forcePathStyle: true,
    credentials: {
      accessKeyId: credentials.AWS_ACCESS_KEY_ID,
      secretAccessKey: credentials.AWS_SECRET_ACCESS_KEY,
    },
  });
}

function makeCluster(folder: string, endpoint: string, monitor: string): void {
  for (const name of ['mon', 'osd']) mkdirSync(join(folder, name));
  const id = randomUUID();
  writeFileSync(join(folder, 'ceph.conf'), configuration(folder, id, endpoint, monitor));
  const [monitors, storage] = [join(folder, 'monmap'), join(folder, 'osdmap')];
  const release = ['--enable-all-features', '--set-min-mon-release', 'reef'];
  runToEnd(folder, 'monmaptool', [
    '--create',
    '--fsid',
    id,
    '--addv',
    'a',
    `[${monitor}]`,
    ...release,
    monitors,
  ]);
  runToEnd(folder, 'osdmaptool', ['--createsimple', '1', storage]);
  runToEnd(folder, 'ceph-mon', ['--id', 'a', '--mkfs', '--monmap', monitors, '--osdmap', storage]);
  runToEnd(folder, 'ceph-osd', ['--id', '0', '--mkfs', '--osd-uuid', id, '--no-mon-config']);
}

function configuration(folder: string, id: string, endpoint: string, monitor: string): string {
  const settings = {
    fsid: id,
    mon_host: monitor,
    public_addr: '127.0.0.1',
    cluster_addr: '127.0.0.1',
    ms_bind_msgr1: false,
    // Between the three of them. The gateway checks the signatures of S3 all the same.
    auth_cluster_required: 'none',
    auth_service_required: 'none',
    auth_client_required: 'none',
    ms_mon_client_mode: 'crc',
    keyring: '/dev/null',
    log_file: '/dev/null',
    mon_cluster_log_file: '/dev/null',
    run_dir: folder,
    admin_socket: '""',
    mon_data: join(folder, 'mon'),
    osd_data: join(folder, 'osd'),
    osd_class_dir: join(RADOSGW_FOLDER, 'rados-classes'),
    osd_erasure_code_plugins: '""',
    osd_extblkdev_plugins: '""',
    osd_objectstore: 'memstore',
    memstore_device_bytes: 2 * 1024 ** 3,
    osd_pool_default_size: 1,
    osd_pool_default_min_size: 1,
    osd_pool_default_pg_num: 1,
    osd_pool_default_pgp_num: 1,
    osd_pool_default_pg_autoscale_mode: 'off',
    rgw_rados_pool_pg_num_min: 1,
    mon_allow_pool_size_one: true,
    mon_max_pg_per_osd: 500,
    osd_crush_chooseleaf_type: 0,
    // The monitor gathers changes for a second, and at the start there are many.
    paxos_propose_interval: 0.05,
    paxos_min_wait: 0.01,
    // Else a small answer waits 40 ms for an acknowledgement.
    rgw_frontends: `beast endpoint=${new URL(endpoint).host} tcp_nodelay=1`,
  };
  const lines = Object.entries(settings).map(([name, value]) => `${name} = ${value}`);
  return `[global]\n${lines.join('\n')}\n`;
}

function runToEnd(folder: string, name: string, args: string[]): void {
  const [command, all] = programOf(folder, name, args);
  const { status, stdout, stderr } = spawnSync(command, all, { encoding: 'utf8', timeout: READY_TIMEOUT_MS });
  if (status !== 0) throw new Error(`${name} ended with ${status}: ${stdout}${stderr}`);
}

/** Run by its own dynamic loader: its libraries are another Debian's. */
function programOf(folder: string, name: string, args: string[]): [string, string[]] {
  const libraries = ['--library-path', join(RADOSGW_FOLDER, 'lib')];
  const configured = ['--conf', join(folder, 'ceph.conf')];
  return [join(RADOSGW_FOLDER, 'ld.so'), [...libraries, join(RADOSGW_FOLDER, name), ...configured, ...args]];
}

async function answers(endpoint: string): Promise<boolean> {
  return await fetch(endpoint, { signal: AbortSignal.timeout(1_000) }).then(
    async (response) => {
      await response.text();
      return response.ok;
    },
    () => false,
  );
}

async function end(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const ended = new Promise((resolve) => child.once('exit', resolve));
  child.kill('SIGKILL');
  await ended;
}
