import type { ServerResponse } from 'node:http';

/** Answers with RFC 9457's problem+json. `detail` is a sentence for the caller. */
export function sendProblem(
  response: ServerResponse,
  {
    status,
    title,
    detail,
    headers = {},
  }: { status: number; title: string; detail: string; headers?: Record<string, string> },
): void {
  const body = JSON.stringify({ type: 'about:blank', title, status, detail });
  response.writeHead(status, {
    ...headers,
    'content-type': 'application/problem+json',
    'x-content-type-options': 'nosniff',
    'content-length': Buffer.byteLength(body),
  });
  response.end(body);
}
