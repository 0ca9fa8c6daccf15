import { randomUUID } from 'node:crypto';
import { ConditionalCheckFailedException } from '@aws-sdk/client-dynamodb';
import { GetCommand, UpdateCommand, type DynamoDBDocumentClient } from '@aws-sdk/lib-dynamodb';
import { failuresToOpen, isProbing, nextProbeAt, type Health } from './health.ts';
import { healthFromItem, healthKeyOf, type HandlerStore } from './store.ts';

/** What a report is about. Health that was found out about another target is none of it. */
export type Subject = { handlerId: string; targetVersion: number };

/** Failures in a row, as one environment has seen them. */
export type Failures = {
  count: number;
  /** When the first of them ended. */
  since: string;
  /** When this environment last got any other answer; null if never. What was counted before that is over. */
  aliveAt: string | null;
  maxGapMs: number;
};

export type HealthStore = ReturnType<typeof createHealthStore>;

// Each of them means that another environment was faster.
const maxTries = 20;

/**
 * The health of targets, an item for each handler behind the handler itself: one Query loads both. An edit of the handler leaves it
 * alone and makes it worthless, where the target is another one after it.
 */
export function createHealthStore({
  dynamo,
  tableName,
  handlers,
  scale,
  now,
}: {
  dynamo: DynamoDBDocumentClient;
  tableName: string;
  handlers: Pick<HandlerStore, 'raiseRevision'>;
  /** Multiplies the waits between probes; 1 but in tests. */
  scale: number;
  now: () => Date;
}) {
  async function readItem(handlerId: string): Promise<Record<string, unknown> | undefined> {
    const { Item } = await dynamo.send(
      new GetCommand({ TableName: tableName, Key: healthKeyOf(handlerId), ConsistentRead: true }),
    );
    return Item;
  }

  /** As it is now, strongly consistent. */
  async function read(handlerId: string): Promise<{ health: Health | null; closedAt: string | null }> {
    const item = (await readItem(handlerId)) ?? {};
    return { health: healthFromItem(item), closedAt: (item['closedAt'] as string | undefined) ?? null };
  }

  /** Null when the condition does not hold. */
  async function update(
    handlerId: string,
    expressions: { UpdateExpression: string; ConditionExpression: string },
    values: Record<string, unknown>,
  ): Promise<Record<string, unknown> | null> {
    try {
      const { Attributes } = await dynamo.send(
        new UpdateCommand({
          TableName: tableName,
          Key: healthKeyOf(handlerId),
          ...expressions,
          ExpressionAttributeValues: values,
          ReturnValues: 'ALL_NEW',
        }),
      );
      return Attributes ?? {};
    } catch (error) {
      if (error instanceof ConditionalCheckFailedException) return null;
      throw error;
    }
  }

  /**
   * Adds failures to the streak of all environments, or begins a new one when that is over.
   *
   * @returns the health with them; null when the target is another one by now
   */
  async function reportFailures(
    { handlerId, targetVersion }: Subject,
    failures: Failures,
  ): Promise<Health | null> {
    // The answer to the first try of the SDK may be lost, and its second try must not count again.
    const token = randomUUID();
    for (let tries = 1; ; tries++) {
      const at = now();
      const values = { ':version': targetVersion, ':now': at.toISOString(), ':token': token };
      const joined = await update(
        handlerId,
        {
          UpdateExpression:
            'SET targetVersion = :version, lastFailureAt = :now, reportToken = :token, streakSince = if_not_exists(streakSince, :since), failingSince = if_not_exists(failingSince, :since) ADD streak :count',
          ConditionExpression:
            'attribute_not_exists(circuit) AND (attribute_not_exists(streak) OR (targetVersion = :version AND lastFailureAt >= :notBefore AND streakSince >= :aliveAt AND reportToken <> :token))',
        },
        {
          ...values,
          ':since': failures.since,
          ':count': failures.count,
          ':notBefore': new Date(at.getTime() - failures.maxGapMs).toISOString(),
          ':aliveAt': failures.aliveAt ?? '',
        },
      );
      if (joined !== null) return healthFromItem(joined);

      const item = await readItem(handlerId);
      const seen = item === undefined ? null : healthFromItem(item);
      if (item === undefined || seen === null) {
        if (tries >= maxTries) return null;
        continue;
      }
      if (seen.targetVersion > targetVersion) return null;
      const isSame = seen.targetVersion === targetVersion;
      if (item['reportToken'] === token || (isSame && seen.circuit !== null)) return seen;

      const isFailingStill = isSame && seen.failingSince >= (failures.aliveAt ?? '');
      const begun = await update(
        handlerId,
        {
          UpdateExpression:
            'SET targetVersion = :version, lastFailureAt = :now, reportToken = :token, streakSince = :since, failingSince = :failingSince, streak = :count REMOVE circuit, openedAt, closedAt, probeAt, failedProbes, probeToken, probeUntil',
          ConditionExpression: 'reportToken = :seen AND streak = :seenStreak',
        },
        {
          ...values,
          ':since': failures.since,
          ':failingSince': isFailingStill ? seen.failingSince : failures.since,
          ':count': failures.count,
          ':seen': item['reportToken'],
          ':seenStreak': seen.streak,
        },
      );
      if (begun !== null) return healthFromItem(begun);
      if (tries >= maxTries) return seen;
    }
  }

  /**
   * Opens the circuit, unless somebody else has, or a success has ended the streak. Every environment hears of it within a second;
   * those that have failures of their own hear it as the answer to them, so that a crash before the revision is raised does no harm.
   *
   * @param streak the failures in a row that it takes: fewer where one environment has seen enough otherwise
   */
  async function open(
    { handlerId, targetVersion }: Subject,
    { streak = failuresToOpen, random }: { streak?: number; random: number },
  ): Promise<boolean> {
    const at = now();
    const opened = await update(
      handlerId,
      {
        UpdateExpression:
          'SET circuit = :open, openedAt = :now, probeAt = :probeAt, failedProbes = :none REMOVE closedAt',
        ConditionExpression:
          'attribute_not_exists(circuit) AND targetVersion = :version AND streak >= :streak',
      },
      {
        ':open': 'open',
        ':now': at.toISOString(),
        ':probeAt': nextProbeAt(0, { now: at, random, scale }),
        ':none': 0,
        ':version': targetVersion,
        ':streak': streak,
      },
    );
    if (opened === null) return false;
    await handlers.raiseRevision();
    return true;
  }

  /** Forgets the failures before a success. An open circuit stays open: the call may have begun long before it opened. */
  async function forgetFailures({ handlerId, targetVersion }: Subject, aliveAt: string): Promise<void> {
    await update(
      handlerId,
      {
        UpdateExpression:
          'REMOVE targetVersion, streak, streakSince, lastFailureAt, failingSince, reportToken',
        ConditionExpression:
          'attribute_exists(streak) AND attribute_not_exists(circuit) AND targetVersion = :version AND streakSince <= :aliveAt',
      },
      { ':version': targetVersion, ':aliveAt': aliveAt },
    );
  }

  /**
   * Closes the circuit, because a call that began at `calledAt`, after it had opened, got an answer.
   *
   * @returns whether it was open
   */
  async function close({ handlerId, targetVersion }: Subject, calledAt: Date): Promise<boolean> {
    await handlers.raiseRevision();
    const closed = await update(
      handlerId,
      {
        UpdateExpression:
          'SET closedAt = :now REMOVE targetVersion, streak, streakSince, lastFailureAt, failingSince, reportToken, circuit, openedAt, probeAt, failedProbes, probeToken, probeUntil',
        ConditionExpression: 'circuit = :open AND targetVersion = :version AND openedAt <= :calledAt',
      },
      {
        ':open': 'open',
        ':now': now().toISOString(),
        ':version': targetVersion,
        ':calledAt': calledAt.toISOString(),
      },
    );
    await handlers.raiseRevision();
    return closed !== null;
  }

  /**
   * Takes the right to send the next probe, when its time has come and none is under way. Null when it has not, or somebody else was
   * faster.
   *
   * @param leaseMs longer than a probe can take: when it is over and there is no result, the probe was lost
   */
  async function takeProbe(
    { handlerId, targetVersion }: Subject,
    { circuit }: Health,
    leaseMs: number,
  ): Promise<string | null> {
    const at = now();
    if (circuit === null || circuit.probeAt > at.toISOString() || isProbing(circuit, at)) return null;
    const token = randomUUID();
    const taken = await update(
      handlerId,
      {
        UpdateExpression: 'SET probeToken = :token, probeUntil = :until',
        ConditionExpression: `circuit = :open AND targetVersion = :version AND openedAt = :openedAt AND probeAt = :probeAt AND ${
          circuit.probe === null ? 'attribute_not_exists(probeToken)' : 'probeToken = :seen'
        }`,
      },
      {
        ':open': 'open',
        ':version': targetVersion,
        ':openedAt': circuit.openedAt,
        ':probeAt': circuit.probeAt,
        ':token': token,
        ':until': new Date(at.getTime() + leaseMs).toISOString(),
        ...(circuit.probe !== null && { ':seen': circuit.probe.token }),
      },
    );
    if (taken !== null) return token;
    // The answer to the first try of the SDK may have been lost, and its second try have met what the first one wrote.
    return (await read(handlerId)).health?.circuit?.probe?.token === token ? token : null;
  }

  /**
   * Ends a probe that has not closed the circuit, and says when the next one may begin.
   *
   * @param failedProbes those in a row, with this one; as many as before it when it told nothing, and then the next one is soon
   */
  async function endProbe(
    handlerId: string,
    token: string,
    { failedProbes, isSoon, random }: { failedProbes: number; isSoon: boolean; random: number },
  ): Promise<void> {
    await update(
      handlerId,
      {
        UpdateExpression:
          'SET failedProbes = :failedProbes, probeAt = :probeAt REMOVE probeToken, probeUntil',
        ConditionExpression: 'probeToken = :token',
      },
      {
        ':failedProbes': failedProbes,
        ':probeAt': nextProbeAt(isSoon ? 0 : failedProbes, { now: now(), random, scale }),
        ':token': token,
      },
    );
  }

  return { read, reportFailures, open, forgetFailures, close, takeProbe, endProbe };
}
