import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { DynamoDBClient, ScanCommand, type ScanCommandInput } from '@aws-sdk/client-dynamodb';
import { expect, onTestFinished, test } from 'vitest';
import { startDynamoDb, tableNames } from '../../local/dynamodb.ts';
import { executionsTable } from '../../shared/aws/tables.ts';

const writerFile = fileURLToPath(new URL('index-writer.ts', import.meta.url));
const kills = 5;

// Whether a death falls between two writes is a matter of luck; test/local/atomic-index.test.ts sees that there are no two.
test('kill -9 leaves an item and its entry in the index both as they were or both changed', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'handoff-index-'));
  onTestFinished(() => rm(folder, { recursive: true }));
  const tables = join(folder, 'dynamodb');

  for (let kill = 0; kill < kills; kill += 1) {
    await writeUntilKilled(tables);
    const { items, entries } = await readBoth(tables);
    expect(items.length).toBeGreaterThan(0);
    expect(entries).toEqual(items);
  }
});

async function writeUntilKilled(tables: string): Promise<void> {
  const writer = spawn(process.execPath, [writerFile, tables], { stdio: ['ignore', 'pipe', 'inherit'] });
  const closed = once(writer, 'close');
  // The first rounds of a process are slow.
  for await (const line of createInterface({ input: writer.stdout })) {
    if (line === 'round 5') writer.kill('SIGKILL');
  }
  const [, signal] = await closed;
  expect(signal).toBe('SIGKILL');
}

/** What the table and its index say of the keys of the index, each sorted. */
async function readBoth(tables: string) {
  const { endpoint, credentials, stop } = await startDynamoDb(tables);
  const client = new DynamoDBClient({ endpoint, region: 'us-east-1', credentials, maxAttempts: 1 });
  const { indexName, partitionKey, sortKey } = executionsTable.attention;
  const read = async (from: Partial<ScanCommandInput>) => {
    const { Items = [] } = await client.send(new ScanCommand({ TableName: tableNames.executions, ...from }));
    return Items.map((item) => [item['sk']?.S, item[partitionKey]?.S, item[sortKey]?.S].join(' ')).toSorted();
  };
  try {
    return { items: await read({}), entries: await read({ IndexName: indexName }) };
  } finally {
    client.destroy();
    await stop(1000);
  }
}
