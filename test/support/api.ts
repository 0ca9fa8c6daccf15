import { engineToken } from './engine.ts';
import { knowSecret } from './known-secrets.ts';

/** Sends a request to the management API, as somebody who may do everything there. */
export type Send = (
  path: string,
  init?: { method?: string; body?: string; headers?: object },
) => Promise<Response>;

export const sendWithToken =
  (url: string, token = engineToken): Send =>
  (path, init) =>
    fetch(url + path, {
      ...init,
      headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json', ...init?.headers },
    });

/** The management API of an engine as a client sees it. */
export const apiOf = (url: string) => apiThrough(sendWithToken(url));

/** The management API as a client sees it. Rejects with what it answered when that is no 2xx. */
export function apiThrough(send: Send) {
  const request = (method: string, path: string, body?: object): Promise<Response> =>
    send(path, { method, ...(body && { body: JSON.stringify(body) }) });

  async function call<Answer>(method: string, path: string, body?: object): Promise<Answer> {
    const response = await request(method, path, body);
    if (!response.ok) throw new Error(`${method} ${path}: ${response.status} ${await response.text()}`);
    const answer = (response.status === 204 ? undefined : await response.json()) as Answer;
    const { id, secret } = (answer ?? {}) as { id?: string; secret?: string };
    if (id !== undefined && secret !== undefined) knowSecret(id, secret);
    return answer;
  }
  return {
    /** For answers that are no 2xx: gives what came, whatever it is. */
    async request(method: string, path: string, body?: object): Promise<{ status: number; body: unknown }> {
      const response = await request(method, path, body);
      return { status: response.status, body: await response.json() };
    },
    get: <Answer>(path: string) => call<Answer>('GET', path),
    post: <Answer>(path: string, body: object = {}) => call<Answer>('POST', path, body),
    patch: <Answer>(path: string, body: object) => call<Answer>('PATCH', path, body),
    delete: (path: string) => call<undefined>('DELETE', path),
  };
}
