/** How a call of a script ended: with what it returned, as JSON, or with an error, by Lambda's names for it. */
export type ScriptEnd =
  | { kind: 'returned'; json: Buffer }
  | { kind: 'failed'; errorType: string; errorMessage: string };

export const failed = (errorType: string, errorMessage: string): ScriptEnd => ({
  kind: 'failed',
  errorType,
  errorMessage,
});

/** Lambda takes 6 MB and a little; so do the runners. */
const maxBodyBytes = 6_291_556;

/**
 * Reads the end of a call out of what comes through the runner's pipe: `<token>R<bytes>\n<JSON>` or `<token>E...`. The
 * script can write into that pipe too, by mistake: what is not behind the token is passed over, and of it no more is
 * kept than it takes to find a token that comes in pieces.
 */
export function createEndReader(token: string): (chunk: Buffer) => ScriptEnd | null {
  const header = new RegExp(`${token}(?<kind>[RE])(?<bytes>\\d{1,7})\n`, 'u');
  const maxHeaderLength = token.length + 10;
  let pieces: Buffer[] = [];
  let size = 0;
  let body: { kind: string; bytes: number } | null = null;

  const keep = (piece: Buffer) => {
    pieces = [piece];
    size = piece.length;
  };
  return (chunk) => {
    pieces.push(chunk);
    size += chunk.length;
    if (body === null) {
      const received = Buffer.concat(pieces);
      // One character for each byte, so that positions are the same in both.
      const found = header.exec(received.toString('latin1'));
      const { kind = '', bytes = '' } = found?.groups ?? {};
      if (found === null || Number(bytes) > maxBodyBytes) {
        keep(received.subarray(-maxHeaderLength));
        return null;
      }
      body = { kind, bytes: Number(bytes) };
      keep(received.subarray(found.index + found[0].length));
    }
    if (size < body.bytes) return null;
    const json = Buffer.concat(pieces).subarray(0, body.bytes);
    if (body.kind === 'R') return { kind: 'returned', json };
    return readError(json);
  };
}

function readError(json: Buffer): ScriptEnd {
  try {
    const { errorType, errorMessage } = JSON.parse(json.toString()) as Record<string, unknown>;
    return failed(String(errorType), String(errorMessage));
  } catch {
    // A script can lie in wait for its runner's token: that fails its own call and nothing else.
    return failed('Runtime.Unknown', 'The error cannot be read.');
  }
}
