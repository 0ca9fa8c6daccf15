// A process of its own that runs a transform: one that does not end, after it has said which process that is in, or with `quick` one that does.
import { readdirSync, readFileSync } from 'node:fs';
import { createTransforms } from '../../shared/events/transform.ts';

const transforms = createTransforms();
const event = { id: 'e-1', time: '2026-11-23T10:00:00.000Z', raw: '{}' };
await transforms.run(event, '1');
if (process.argv[2] !== 'quick') {
  const endless = transforms.run(event, '($f := function($x) { $f($x) }; $f(1))');
  const children = readdirSync('/proc').filter(
    (pid) => /^\d+$/u.test(pid) && parentOf(pid) === String(process.pid),
  );
  process.stdout.write(children.join(' '));
  await endless;
}

function parentOf(pid: string): string | undefined {
  try {
    return /^PPid:\s+(\d+)/mu.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1];
  } catch {
    return undefined;
  }
}
