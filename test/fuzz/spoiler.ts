import { startReceiver, type Receiver } from '../support/http-server.ts';

type Answer = { status: number; headers: Record<string, string>; body: string };
/** Makes a good answer into another one. */
export type Spoil = (answer: Answer) => Answer;

/**
 * A proxy that hands everything on, and spoils the good answers of one path.
 *
 * @param target the URL of an engine
 */
export const startSpoiler = (
  target: string,
  { path, spoil }: { path: string; spoil: Spoil },
): Promise<Receiver> =>
  startReceiver(async (request, response) => {
    const { authorization, 'content-type': contentType } = request.headers;
    const hasBody = request.method !== 'GET' && request.method !== 'HEAD' && request.body !== '';
    const answer = await fetch(target + request.path, {
      method: request.method,
      headers: {
        ...(authorization !== undefined && { authorization }),
        ...(contentType !== undefined && { 'content-type': contentType }),
      },
      ...(hasBody && { body: request.body }),
    });
    const good = {
      status: answer.status,
      headers: Object.fromEntries(answer.headers),
      body: await answer.text(),
    };
    const isSpoilt = answer.ok && new URL(target + request.path).pathname === path;
    const { status, headers, body } = isSpoilt ? spoil(good) : good;
    // The length is that of the good one.
    const { 'content-length': _, connection: __, ...others } = headers;
    response.writeHead(status, others).end(body);
  });
