// A process of its own that runs transforms. It says which process those run in, and waits; with `endless` in the midst of one, and with `quick` not at all.
import { readdirSync, readFileSync } from 'node:fs';
import { createTransforms } from '../../shared/transforms/transform.ts';

const [, , how] = process.argv;
const transforms = createTransforms();
const run = (expression: string) =>
  transforms.run({ id: 'e-1', time: '2026-11-23T10:00:00.000Z', raw: '{}' }, expression);

await run('1');
if (how !== 'quick') {
  const endless = how === 'endless' ? run('($f := function($x) { $f($x) }; $f(1))') : null;
  process.stdout.write(readdirSync('/proc').filter(isChild).join(' '));
  await endless;
  process.stdin.on('data', (expression) => {
    void run(expression.toString()).then((made) => process.stdout.write(JSON.stringify(made)));
  });
}

function isChild(pid: string): boolean {
  try {
    return readFileSync(`/proc/${pid}/status`, 'utf8').includes(`\nPPid:\t${process.pid}\n`);
  } catch {
    return false;
  }
}
