import { GenericContainer, Wait } from 'testcontainers';
import { analystStatements } from '../../infra/clickhouse/analyst.ts';
import { connectClickHouse } from '../../infra/clickhouse/client.ts';
import { migrate } from '../../infra/clickhouse/migrate.ts';

/** The ClickHouse release that the embedded chDB is made of. */
const IMAGE = 'clickhouse/clickhouse-server:26.7';
const PASSWORD = 'test-password';

export interface ClickHouseImage {
  adminUrl: string;
  /** With the roles `immutable_writer` and `immutable_reader`. */
  writerUrl: string;
  readerUrl: string;
  /** With the statements that `immutable analyst create` prints. */
  createAnalyst(name: string, password: string, workspaceId: string): Promise<void>;
  stop(): Promise<void>;
}

/** A ClickHouse server in a container, migrated as a server is. */
export async function startClickHouseImage(): Promise<ClickHouseImage> {
  const container = await new GenericContainer(IMAGE)
    .withEnvironment({
      CLICKHOUSE_USER: 'admin',
      CLICKHOUSE_PASSWORD: PASSWORD,
      CLICKHOUSE_DEFAULT_ACCESS_MANAGEMENT: '1',
    })
    .withExposedPorts(8123)
    .withWaitStrategy(Wait.forHttp('/ping', 8123))
    .start();
  const urlOf = (user: string) =>
    `http://${user}:${PASSWORD}@${container.getHost()}:${container.getMappedPort(8123)}`;
  const admin = connectClickHouse(urlOf('admin'));
  await migrate(admin, { serverKind: 'server' });
  for (const user of ['writer', 'reader']) {
    await admin.command({
      query: `CREATE USER ${user} IDENTIFIED BY '${PASSWORD}' DEFAULT ROLE immutable_${user}`,
    });
    await admin.command({ query: `GRANT immutable_${user} TO ${user}` });
  }
  return {
    adminUrl: urlOf('admin'),
    writerUrl: urlOf('writer'),
    readerUrl: urlOf('reader'),
    createAnalyst: async (name, password, workspaceId) => {
      for (const query of analystStatements({ name, password, workspaceId })) await admin.command({ query });
    },
    stop: async () => {
      await admin.close();
      await container.stop();
    },
  };
}
