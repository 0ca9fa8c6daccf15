import type { AddressGuard } from './address-guard.ts';

/**
 * Why this deployment must not call a URL, as far as the URL alone tells; null when it may. Asked when a handler is saved
 * and again at every attempt, because the settings may have changed in between. What a name resolves to is judged
 * when the connection is made.
 *
 * @param settings `allowHttp`: whether plain http:// is allowed
 */
export function targetUrlProblem(
  text: string,
  { allowHttp, guard }: { allowHttp: boolean; guard: AddressGuard },
): string | null {
  const url = URL.parse(text);
  if (url === null) return 'is not a URL';
  if (url.protocol !== 'https:' && url.protocol !== 'http:') return 'must begin with https:// or http://';
  if (url.protocol === 'http:' && !allowHttp) {
    return 'plain http:// needs the setting allowHttp (HANDOFF_ALLOW_HTTP=true on one machine)';
  }
  return guard.hostProblem(url.hostname);
}
