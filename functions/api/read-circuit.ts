import { isProbing } from '../../shared/handlers/health.ts';
import { targetVersionOf, type StoredHandler } from '../../shared/handlers/store.ts';
import type { Services } from './services.ts';

/** How the circuit of a handler is now, and since when. */
export async function readCircuit(
  { health: healthStore, now }: Pick<Services, 'health' | 'now'>,
  stored: StoredHandler,
): Promise<{ circuit: 'closed' | 'open' | 'probing'; since: string | null }> {
  const { health, closedAt } = await healthStore.read(stored.handler.id);
  const circuit = health?.targetVersion === targetVersionOf(stored) ? health.circuit : null;
  if (circuit === null) return { circuit: 'closed', since: closedAt };
  return { circuit: isProbing(circuit, now()) ? 'probing' : 'open', since: circuit.openedAt };
}
