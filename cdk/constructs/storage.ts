import { RemovalPolicy, Stack } from 'aws-cdk-lib';
import { AttributeType, BillingMode, ProjectionType, Table, TableEncryption } from 'aws-cdk-lib/aws-dynamodb';
import { Key } from 'aws-cdk-lib/aws-kms';
import { Construct } from 'constructs';
import { executionsTable, handlersTable } from '../../shared/aws/tables.ts';
import type { Config } from '../config.ts';
import type { Access } from './function.ts';

/** What the storage gives to one function: spread it into the function's environment. */
export type StorageAccess = {
  readonly HANDLERS_TABLE: Access<'HANDLERS_TABLE'>;
  readonly EXECUTIONS_TABLE: Access<'EXECUTIONS_TABLE'>;
  readonly DATA_KEY: Access<'DATA_KEY'>;
};

const text = (name: string) => ({ name, type: AttributeType.STRING });

/** The two tables, and the key that wraps the data key of the handlers' secrets. All three outlive the stack. */
export class Storage extends Construct {
  /** What the dispatcher may do: read handlers, write the log, open secrets. */
  readonly forDispatcher: StorageAccess;
  /** What the API may do: change handlers, read the log, seal and open secrets. */
  readonly forApi: StorageAccess;
  readonly handlersTableName: string;
  readonly executionsTableName: string;

  constructor(scope: Construct, id: string, config: Config) {
    super(scope, id);
    const { stackName } = Stack.of(this);

    const common = {
      billingMode: BillingMode.PAY_PER_REQUEST,
      // The key of AWS that belongs to this account: its use shows in CloudTrail, and it costs nothing while idle.
      encryption: TableEncryption.AWS_MANAGED,
      removalPolicy: RemovalPolicy.RETAIN,
      deletionProtection: true,
    };
    // Named, so that a change which would replace a table fails for the taken name instead of leaving its
    // items behind in a table that nobody reads.
    const handlers = new Table(this, 'Handlers', {
      ...common,
      tableName: `${stackName}-handlers`,
      partitionKey: text(handlersTable.partitionKey),
      sortKey: text(handlersTable.sortKey),
      pointInTimeRecoverySpecification: { pointInTimeRecoveryEnabled: true },
    });
    const executions = new Table(this, 'Executions', {
      ...common,
      tableName: `${stackName}-executions`,
      partitionKey: text(executionsTable.partitionKey),
      sortKey: text(executionsTable.sortKey),
      timeToLiveAttribute: executionsTable.expiry,
      pointInTimeRecoverySpecification: { pointInTimeRecoveryEnabled: config.executionsPointInTimeRecovery },
    });
    executions.addGlobalSecondaryIndex({
      indexName: executionsTable.attention.indexName,
      partitionKey: text(executionsTable.attention.partitionKey),
      sortKey: text(executionsTable.attention.sortKey),
      projectionType: ProjectionType.KEYS_ONLY,
    });
    const dataKey = new Key(this, 'DataKey', {
      description: `${stackName}: wraps the data key that encrypts the secrets of handlers`,
      enableKeyRotation: true,
      // A deleted key would make every signing secret unreadable, in the retained table and in its backups.
      removalPolicy: RemovalPolicy.RETAIN,
    });

    const handlersTo = (...actions: string[]): Access<'HANDLERS_TABLE'> => ({
      variable: 'HANDLERS_TABLE',
      value: handlers.tableName,
      permissions: [{ actions, resources: [handlers.tableArn] }],
    });
    const executionsTo = (...actions: string[]): Access<'EXECUTIONS_TABLE'> => ({
      variable: 'EXECUTIONS_TABLE',
      value: executions.tableName,
      permissions: [{ actions, resources: [executions.tableArn] }],
    });
    const dataKeyTo = (...actions: string[]): Access<'DATA_KEY'> => ({
      variable: 'DATA_KEY',
      value: dataKey.keyArn,
      permissions: [
        {
          actions,
          resources: [dataKey.keyArn],
          // The one purpose for which our code asks; the key opens nothing else that is ever wrapped with it.
          conditions: { StringEquals: { 'kms:EncryptionContext:purpose': 'handoff-data-key' } },
        },
      ],
    });

    this.handlersTableName = handlers.tableName;
    this.executionsTableName = executions.tableName;
    this.forDispatcher = {
      HANDLERS_TABLE: handlersTo('dynamodb:GetItem', 'dynamodb:Query'),
      EXECUTIONS_TABLE: executionsTo(
        'dynamodb:BatchGetItem',
        'dynamodb:BatchWriteItem',
        'dynamodb:PutItem',
        'dynamodb:UpdateItem',
      ),
      DATA_KEY: dataKeyTo('kms:Decrypt'),
    };
    this.forApi = {
      HANDLERS_TABLE: handlersTo(
        'dynamodb:DeleteItem',
        'dynamodb:GetItem',
        'dynamodb:PutItem',
        'dynamodb:Query',
        'dynamodb:UpdateItem',
      ),
      EXECUTIONS_TABLE: executionsTo('dynamodb:BatchGetItem', 'dynamodb:GetItem', 'dynamodb:Query'),
      DATA_KEY: dataKeyTo('kms:Decrypt', 'kms:GenerateDataKey'),
    };
  }
}
