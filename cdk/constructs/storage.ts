import { RemovalPolicy, Stack, Validations } from 'aws-cdk-lib';
import { AttributeType, BillingMode, ProjectionType, Table, TableEncryption } from 'aws-cdk-lib/aws-dynamodb';
import { Key } from 'aws-cdk-lib/aws-kms';
import { Construct } from 'constructs';
import { Effect } from 'aws-cdk-lib/aws-iam';
import { auditPartitionPrefix, executionsTable, handlersTable } from '../../shared/aws/tables.ts';
import type { Config } from '../config.ts';
import type { Access } from './function.ts';

const text = (name: string) => ({ name, type: AttributeType.STRING });

/** The two tables, and the key that wraps the data key of the handlers' secrets. All three outlive the stack. */
export class Storage extends Construct {
  /**
   * The handlers, their health and the sealed data key, which share a table. `readAndStop`: a dispatcher disables what its endpoint says
   * is gone, and notes how a target is. `settle`: the sweeper takes the marks off those that were stopped, and the right to probe, and notes
   * how far recoveries have come.
   */
  readonly handlers: Record<'readAndStop' | 'settle' | 'readWrite', Access<'HANDLERS_TABLE'>>;
  /**
   * The execution log. `record`: first attempts, and which of them are recorded already. `resume`: the later attempts of
   * one execution at a time. `sweep`: find what is due, send its wake-up call, keep dead letters, go on with recoveries. `manage`: all that
   * people ask for.
   */
  readonly log: Record<'record' | 'resume' | 'sweep' | 'manage', Access<'EXECUTIONS_TABLE'>>;
  /** The data key of the handlers' secrets. Who creates it also stores it, with `handlers.readWrite`. */
  readonly dataKey: Record<'open' | 'openOrCreate', Access<'DATA_KEY'>>;
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
      timeToLiveAttribute: handlersTable.expiry,
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
    if (!config.executionsPointInTimeRecovery) {
      Validations.of(executions).acknowledge({
        id: 'AwsSolutions-DDB3',
        reason:
          'The log grows with every event, and this is billed by its size: executionsPointInTimeRecovery is there for who wants it.',
      });
    }
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
      permissions: [
        { actions, resources: [handlers.tableArn] },
        // Said as what is denied, so that no right that somebody adds opens it. That a put could write over a row cannot be told apart from
        // one that adds it.
        {
          effect: Effect.DENY,
          actions: [
            'dynamodb:BatchWriteItem',
            'dynamodb:DeleteItem',
            'dynamodb:PartiQLDelete',
            'dynamodb:PartiQLUpdate',
            'dynamodb:UpdateItem',
          ],
          resources: [handlers.tableArn],
          conditions: { 'ForAnyValue:StringLike': { 'dynamodb:LeadingKeys': [`${auditPartitionPrefix}*`] } },
        },
      ],
    });
    const executionsTo = (...actions: string[]): Access<'EXECUTIONS_TABLE'> => ({
      variable: 'EXECUTIONS_TABLE',
      value: executions.tableName,
      permissions: [{ actions, resources: [executions.tableArn] }],
    });
    const withAttention = (access: Access<'EXECUTIONS_TABLE'>): Access<'EXECUTIONS_TABLE'> => ({
      ...access,
      permissions: [
        ...access.permissions,
        {
          actions: ['dynamodb:Query'],
          resources: [`${executions.tableArn}/index/${executionsTable.attention.indexName}`],
        },
      ],
    });
    const dataKeyTo = (...actions: string[]): Access<'DATA_KEY'> => ({
      variable: 'DATA_KEY',
      value: dataKey.keyArn,
      permissions: [
        {
          actions,
          resources: [dataKey.keyArn],
          // A role may use the key for the data key alone, not for other things that somebody wraps with it.
          conditions: { StringEquals: { 'kms:EncryptionContext:purpose': 'handoff-data-key' } },
        },
      ],
    });

    this.handlersTableName = handlers.tableName;
    this.executionsTableName = executions.tableName;
    this.handlers = {
      readAndStop: handlersTo('dynamodb:GetItem', 'dynamodb:Query', 'dynamodb:UpdateItem'),
      settle: handlersTo('dynamodb:DeleteItem', 'dynamodb:GetItem', 'dynamodb:Query', 'dynamodb:UpdateItem'),
      readWrite: handlersTo('dynamodb:GetItem', 'dynamodb:PutItem', 'dynamodb:Query', 'dynamodb:UpdateItem'),
    };
    this.log = {
      record: executionsTo(
        'dynamodb:BatchGetItem',
        'dynamodb:BatchWriteItem',
        'dynamodb:GetItem',
        'dynamodb:PutItem',
        'dynamodb:UpdateItem',
      ),
      resume: executionsTo('dynamodb:GetItem', 'dynamodb:PutItem', 'dynamodb:UpdateItem'),
      sweep: withAttention(
        executionsTo('dynamodb:GetItem', 'dynamodb:PutItem', 'dynamodb:Query', 'dynamodb:UpdateItem'),
      ),
      manage: withAttention(
        executionsTo(
          'dynamodb:BatchGetItem',
          'dynamodb:DeleteItem',
          'dynamodb:GetItem',
          'dynamodb:PutItem',
          'dynamodb:Query',
          'dynamodb:UpdateItem',
        ),
      ),
    };
    this.dataKey = {
      open: dataKeyTo('kms:Decrypt'),
      openOrCreate: dataKeyTo('kms:Decrypt', 'kms:GenerateDataKey'),
    };
  }
}
