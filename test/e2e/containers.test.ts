import { GenericContainer, type StartedTestContainer, Wait } from 'testcontainers';
import { containerEngine, describeNeeding } from '../support/requirements.ts';
import { startStack } from '../support/stack.ts';
import { describeJourney, type Service } from './journey.ts';

/** The oldest NATS that is supported, and the ClickHouse release that the embedded chDB is made of. */
const NATS_IMAGE = 'nats:2.15-alpine';
const CLICKHOUSE_IMAGE = 'clickhouse/clickhouse-server:26.7';

const PASSWORD = 'test-password';

/** `sync_interval: always` is what an edge insists on; the image's default would be refused. */
const NATS_CONFIG = `
port: 4222
http: 8222
max_payload: 2MB
authorization { user: immutable, password: "${PASSWORD}" }
jetstream { store_dir: /data, sync_interval: always, max_file_store: 2GB }
`;

/** The service's own user has what the role gives it and nothing else: the migrations grant the role its rights. */
const CLICKHOUSE_USERS = `
CREATE ROLE IF NOT EXISTS immutable_writer;
CREATE USER service IDENTIFIED BY '${PASSWORD}' DEFAULT ROLE immutable_writer;
GRANT immutable_writer TO service;
`;

await describeNeeding(containerEngine, 'with NATS and ClickHouse as servers of their own', () => {
  describeJourney('the journey on server images', startOnImages);
});

async function startOnImages(): Promise<Service> {
  const [nats, clickhouse] = await Promise.all([startNats(), startClickHouse()]);
  const stopImages = () => Promise.all([nats.stop(), clickhouse.stop()]);
  try {
    const clickhouseUrl = (user: string) => `http://${user}:${PASSWORD}@${address(clickhouse, 8123)}`;
    const stack = await startStack({
      env: {
        IMMUTABLE_NATS_URL: `nats://immutable:${PASSWORD}@${address(nats, 4222)}`,
        IMMUTABLE_NATS_MONITOR_URL: `http://${address(nats, 8222)}`,
        IMMUTABLE_CLICKHOUSE_URL: clickhouseUrl('service'),
        IMMUTABLE_CLICKHOUSE_ADMIN_URL: clickhouseUrl('admin'),
      },
    });
    return {
      baseUrl: stack.baseUrl,
      workspaceId: stack.workspaceId,
      apiKey: stack.apiKey,
      clickhouseAdminUrl: clickhouseUrl('admin'),
      stop: async () => {
        await stack.stop();
        await stopImages();
      },
    };
  } catch (error) {
    await stopImages();
    throw error;
  }
}

function startNats(): Promise<StartedTestContainer> {
  return new GenericContainer(NATS_IMAGE)
    .withCopyContentToContainer([{ content: NATS_CONFIG, target: '/etc/nats/immutable.conf' }])
    .withCommand(['-c', '/etc/nats/immutable.conf'])
    .withExposedPorts(4222, 8222)
    .withWaitStrategy(Wait.forHttp('/healthz', 8222))
    .start();
}

function startClickHouse(): Promise<StartedTestContainer> {
  return new GenericContainer(CLICKHOUSE_IMAGE)
    .withEnvironment({
      CLICKHOUSE_USER: 'admin',
      CLICKHOUSE_PASSWORD: PASSWORD,
      CLICKHOUSE_DEFAULT_ACCESS_MANAGEMENT: '1',
    })
    .withCopyContentToContainer([
      { content: CLICKHOUSE_USERS, target: '/docker-entrypoint-initdb.d/users.sql', mode: 0o644 },
    ])
    .withExposedPorts(8123)
    .withWaitStrategy(Wait.forHttp('/ping', 8123))
    .start();
}

function address(container: StartedTestContainer, port: number): string {
  return `${container.getHost()}:${container.getMappedPort(port)}`;
}
