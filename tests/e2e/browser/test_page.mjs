/* The page in a real browser (Debian's chromium, or $CHROMIUM): first against a scripted service, then against the program itself.
 *
 *   node test_page.mjs                     the program is $QAIO, else build/qaio; prints TAP
 *   node test_page.mjs --screenshot FILE   also writes the picture for the README, and FILE-dark */

import { resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';

import { Harness } from './harness.mjs';
import { programChecks } from './program_checks.mjs';
import { scriptedChecks } from './scripted_checks.mjs';

const root = resolve(fileURLToPath(new URL('../../..', import.meta.url)));
const { values } = parseArgs({ options: { screenshot: { type: 'string' } } });

const harness = await Harness.start();
await scriptedChecks(harness, resolve(root, 'web'));
await programChecks(harness, process.env.QAIO || resolve(root, 'build/qaio'), values.screenshot);
await harness.check('no page broke its Content-Security-Policy, threw, or asked anyone outside', () => {
  if (harness.violations.length) throw new Error(harness.violations.join('\n'));
});
process.exitCode = (await harness.end()) ? 0 : 1;
