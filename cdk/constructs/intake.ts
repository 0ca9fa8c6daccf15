import { Duration } from 'aws-cdk-lib';
import { EventBus, Match, Rule } from 'aws-cdk-lib/aws-events';
import { SqsQueue } from 'aws-cdk-lib/aws-events-targets';
import { Queue } from 'aws-cdk-lib/aws-sqs';
import { Construct } from 'constructs';
import { eventsQueue } from '../../shared/aws/queues.ts';
import type { Config } from '../config.ts';
import type { Access } from './function.ts';
import { drain, queueDefaults, sendTo } from './queue.ts';

/** The way in: a bus, a rule that takes everything on it, and the queue that the dispatcher reads. */
export class Intake extends Construct {
  readonly bus: EventBus;
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
    this.eventsQueue = new Queue(this, 'EventsQueue', {
      ...queueDefaults,
      visibilityTimeout: Duration.seconds(eventsQueue.visibilityTimeoutSeconds),
      deadLetterQueue: { queue: this.deadLetters, maxReceiveCount: eventsQueue.maxReceiveCount },
    });

    this.bus = new EventBus(this, 'Bus', {
      eventBusName: config.busName,
      description: 'Domain events for Handoff',
    });
    new Rule(this, 'Everything', {
      eventBus: this.bus,
      description: 'Every event on this bus goes to the dispatcher, which knows what each handler asked for',
      // A rule needs a pattern, and every event has a source. Not the account: events that another account
      // is allowed to put here would be dropped in silence.
      eventPattern: { source: Match.prefix('') },
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
}
