/**
 * How long an event takes to find its matches among 1,000 handlers with filters, all of them for its type: with the registry of the dispatcher,
 * whose filters are compiled, and beside it with a loop that reads each filter anew. Events are parsed as the dispatcher does.
 *
 *   npm run bench:filters [-- <handlers>]
 */
import { cpus } from 'node:os';
import { parseEvent } from '../shared/events/envelope.ts';
import { parseExact } from '../shared/filters/exact-json.ts';
import { compileFilter, type Filter } from '../shared/filters/filter.ts';
import { filteredEvent, matchesFilter } from '../shared/filters/match-filter.ts';
import { buildRegistry } from '../shared/handlers/registry.ts';
import { aRegisteredHandler, anEvent } from '../test/support/builders.ts';

const handlerCount = Number(process.argv[2] ?? 1000);
const rounds = 200;
const naiveRounds = 10;

type Kind = { name: string; filter: (index: number) => Filter };
const kinds: Kind[] = [
  { name: 'an exact value', filter: (index) => ({ detail: { data: { companyId: [index] } } }) },
  { name: 'a prefix', filter: (index) => ({ detail: { data: { name: [{ prefix: `Client ${index}` }] } } }) },
  {
    name: 'a comparison',
    filter: (index) => ({ detail: { data: { quantity: [{ numeric: ['>=', index, '<', index + 10] }] } } }),
  },
  {
    name: 'several conditions',
    filter: (index) => ({
      source: ['billing'],
      detail: {
        data: {
          status: [{ 'anything-but': ['archived', 'closed'] }],
          tags: ['wholesale', `tag-${index}`],
          contacts: { email: [{ suffix: '@northwind.example' }, { wildcard: `*+${index}@*` }] },
          $or: [{ currency: ['EUR'] }, { companyId: [index] }],
        },
      },
    }),
  },
];

const event = anEvent({
  detail: {
    objectId: 12,
    data: {
      id: 12,
      name: 'Client 512 Northwind Telecom',
      companyId: 512,
      quantity: 512,
      currency: 'EUR',
      status: 'active',
      balance: '12.5000',
      tags: ['wholesale', 'eu'],
      contacts: {
        email: 'noc@northwind.example',
        billingEmail: 'billing@northwind.example',
        address: 'Harbour Street 4',
      },
      taxId: 'NL001234567B01',
      customFields: Object.fromEntries(
        Array.from({ length: 40 }, (_, index) => [`field${index}`, `value ${index}`]),
      ),
    },
  },
});

console.log(`machine   ${cpus().length} x ${cpus()[0]?.model}, Node ${process.version}`);
console.log(`handlers  ${handlerCount}, all for the type of the event, which has ${event.length} characters`);
console.log('');
console.log('filter of each handler  matches   registry    naive loop');
for (const { name, filter } of [...kinds, { name: 'one of these kinds', filter: mixed }]) {
  const filters = Array.from({ length: handlerCount }, (_, index) => filter(index));
  const handlers = filters.map((one) => aRegisteredHandler({ filter: one }));
  const registry = buildRegistry(handlers, []);
  const texts = filters.map((one) => JSON.stringify(one));
  const found = registry.matching(read()).flat().length;
  const naive = naiveMatches(texts);
  if (found !== naive) throw new Error(`The registry finds ${found} handlers, the loop ${naive}.`);
  const registryMs = median(rounds, () => registry.matching(read()));
  const naiveMs = median(naiveRounds, () => naiveMatches(texts));
  console.log(
    `${name.padEnd(22)}${String(found).padStart(9)}${`${registryMs.toFixed(2)} ms`.padStart(11)}${`${naiveMs.toFixed(1)} ms`.padStart(14)}`,
  );
}
console.log('');
const all = Array.from({ length: handlerCount }, (_, index) => mixed(index));
console.log(
  `compiling all filters once, as at a change of any handler: ${median(20, () => all.map(compileFilter)).toFixed(1)} ms`,
);
console.log(
  `parsing the event: ${median(1000, () => JSON.parse(event)).toFixed(3)} ms; with the spelling of its numbers: ${median(1000, () => parseExact(event)).toFixed(3)} ms`,
);

function mixed(index: number): Filter {
  return (kinds[index % kinds.length] as Kind).filter(index);
}

function read() {
  const parsed = parseEvent(event);
  if (!parsed.ok) throw new Error(parsed.reason);
  return parsed.event;
}

/** What comes first to mind: for each handler parse both, and look. */
function naiveMatches(texts: readonly string[]): number {
  return texts.filter((text) => {
    const compiled = compileFilter(parseExact(text));
    return (
      compiled.ok && matchesFilter(compiled.filter, filteredEvent({ raw: event, json: JSON.parse(event) }))
    );
  }).length;
}

function median(times: number, run: () => unknown): number {
  for (let warmUp = 0; warmUp < Math.min(times, 20); warmUp++) run();
  const taken = Array.from({ length: times }, () => {
    const startedAt = performance.now();
    run();
    return performance.now() - startedAt;
  });
  return taken.toSorted((a, b) => a - b)[Math.floor(times / 2)] ?? 0;
}
