// Runs a program, and ends it when the standard input of this one closes. That happens however the process at its other end
// dies, even by kill -9, which lets nobody clean up.
import { spawn } from 'node:child_process';

const [program = '', ...parameters] = process.argv.slice(2);
const child = spawn(program, parameters, { stdio: ['ignore', 'inherit', 'inherit'] });
process.stdin.resume().once('close', () => child.kill());
child.once('close', (code) => process.exit(code ?? 0));
