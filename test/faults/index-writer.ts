/**
 * Started as a process of its own, to be killed. Opens the embedded DynamoDB in the folder it is given and moves a few items
 * about in the index, for ever: each round one puts, updates and deletes. Prints a line each time every item has moved.
 */
import { DynamoDBClient } from '@aws-sdk/client-dynamodb';
import { DeleteCommand, DynamoDBDocumentClient, PutCommand, UpdateCommand } from '@aws-sdk/lib-dynamodb';
import { startDynamoDb, tableNames } from '../../local/dynamodb.ts';

const [folder = ''] = process.argv.slice(2);
const itemCount = 16;

const { endpoint, credentials } = await startDynamoDb(folder);
const client = DynamoDBDocumentClient.from(
  new DynamoDBClient({ endpoint, region: 'us-east-1', credentials, maxAttempts: 1 }),
);
const TableName = tableNames.executions;

for (let round = 0; ; round += 1) {
  await Promise.all(Array.from({ length: itemCount }, (_, index) => move(index, round)));
  console.log(`round ${round}`);
}

async function move(index: number, round: number): Promise<void> {
  const key = { pk: 'h_1#0', sk: String(index) };
  const attentionKey = `${String(process.pid)}-${round}`;
  await client.send(new PutCommand({ TableName, Item: { ...key, attention: 'waiting#0', attentionKey } }));
  await client.send(
    new UpdateCommand({
      TableName,
      Key: key,
      UpdateExpression: 'SET attention = :attention, attentionKey = :attentionKey',
      ExpressionAttributeValues: { ':attention': 'failed#0', ':attentionKey': `${attentionKey}-updated` },
    }),
  );
  if (index % 2 === 0) await client.send(new DeleteCommand({ TableName, Key: key }));
}
