import { Duration, Stack, Validations } from 'aws-cdk-lib';
import { EventBus, Match, Rule, type EventPattern, type IEventBus } from 'aws-cdk-lib/aws-events';
import { SqsQueue } from 'aws-cdk-lib/aws-events-targets';
import { Queue } from 'aws-cdk-lib/aws-sqs';
import { Construct } from 'constructs';
import { eventsQueue } from '../../shared/aws/queues.ts';
import { ownSources } from '../../shared/events/sources.ts';
import type { Config } from '../config.ts';
import { DeployError } from '../deploy-error.ts';
import type { Access } from './function.ts';
import { drain, queueDefaults, sendTo } from './queue.ts';

// The default of a quota that AWS raises to 4,096 on request, for each account:
// https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-quota.html
const maxPatternLength = 2048;

// A rule needs a pattern, and every event has a source. Not the account: events that another account is allowed to put
// on the bus would be dropped in silence.
const everything: EventPattern = { source: Match.prefix('') };

/** The way in: a bus, a rule that takes what is on it, and the queue that the dispatcher reads. */
export class Intake extends Construct {
  readonly bus: EventBus | IEventBus;
  readonly rule: Rule;
  readonly eventsQueue: Queue;
  /** Events that the dispatcher received ten times and could not work off. */
  readonly deadLetters: Queue;
  /** Events that EventBridge could not put into the queue. */
  readonly undelivered: Queue;
  /** The right to put events on the bus. */
  readonly publish: Access<'EVENT_BUS'>;
  /** The right to send an event past the bus, again or for the first time. */
  readonly send: Access<'EVENTS_QUEUE'>;
  readonly drainDeadLetters: Access<'EVENTS_DEAD_LETTERS_QUEUE'>;
  readonly drainUndelivered: Access<'UNDELIVERED_EVENTS_QUEUE'>;

  constructor(scope: Construct, id: string, config: Config) {
    super(scope, id);

    this.deadLetters = new Queue(this, 'EventsDeadLetters', queueDefaults);
    this.undelivered = new Queue(this, 'UndeliveredEvents', queueDefaults);
    Validations.of(this.undelivered).acknowledge({
      id: 'AwsSolutions-SQS3',
      reason:
        'It is itself the dead-letter queue of the rule. The check knows only those of queues and of functions.',
    });
    this.eventsQueue = new Queue(this, 'EventsQueue', {
      ...queueDefaults,
      visibilityTimeout: Duration.seconds(eventsQueue.visibilityTimeoutSeconds),
      deadLetterQueue: { queue: this.deadLetters, maxReceiveCount: eventsQueue.maxReceiveCount },
    });

    this.bus =
      config.existingBusName === null
        ? new EventBus(this, 'Bus', {
            eventBusName: config.busName,
            description: 'Domain events for Handoff',
          })
        : EventBus.fromEventBusName(this, 'ExistingBus', config.existingBusName);
    const takesAll = config.eventSources.length === 0;
    this.rule = new Rule(this, 'Everything', {
      eventBus: this.bus,
      description: `${takesAll ? 'Every event on this bus' : 'Every event of the sources that were set'} goes to the dispatcher, which knows what each handler asked for`,
      eventPattern: takesAll ? everything : this.patternOf(config.eventSources),
      targets: [new SqsQueue(this.eventsQueue, { deadLetterQueue: this.undelivered })],
    });

    this.publish = {
      variable: 'EVENT_BUS',
      value: this.bus.eventBusName,
      permissions: [{ actions: ['events:PutEvents'], resources: [this.bus.eventBusArn] }],
    };
    this.send = sendTo('EVENTS_QUEUE', this.eventsQueue);
    this.drainDeadLetters = drain('EVENTS_DEAD_LETTERS_QUEUE', this.deadLetters);
    this.drainUndelivered = drain('UNDELIVERED_EVENTS_QUEUE', this.undelivered);
  }

  private patternOf(sources: string[]): EventPattern {
    const pattern = {
      source: Match.anyOf(
        ...[...new Set([...sources, ...Object.values(ownSources)])].map((source) =>
          source.endsWith('*') ? Match.prefix(source.slice(0, -1)) : Match.exactString(source),
        ),
      ),
    };
    const { length } = JSON.stringify(Stack.of(this).resolve(pattern));
    if (length > maxPatternLength) {
      throw new DeployError(
        `The ${sources.length} eventSources make a pattern of ${length} characters, and EventBridge takes ${maxPatternLength}: ` +
          'name several of them together by how they begin, as in crm.*.',
      );
    }
    return pattern;
  }
}
