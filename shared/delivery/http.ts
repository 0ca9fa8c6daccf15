import { errors, type Agent, type Dispatcher } from 'undici';
import { AddressRefusedError } from './address-guard.ts';
import { connectSignal } from './agent.ts';
import { isRetryableStatus, maxResponseBytes, unanswered, type CallOutcome, type Demand } from './outcome.ts';

/** One request, as it goes over the wire. */
export type HttpRequest = {
  /** http: or https:, already parsed once without complaint. */
  url: string;
  method: 'POST' | 'PUT' | 'PATCH';
  headers: Readonly<Record<string, string>>;
  body: string;
  /** From connecting to the status line and the end of its headers, milliseconds. Reading the body ends then too. */
  timeoutMs: number;
  /** How much of the answer is read; what is stored of it in most cases. */
  maxResponseBytes?: number;
};

/**
 * Sends one request and says what came of it, within `timeoutMs`. A 2xx is a success even when its body breaks
 * off, never ends or is too large: the target has said that it took the delivery, and another attempt would only
 * deliver it twice. The body is not decompressed, and kept up to `maxResponseBytes`.
 *
 * Whatever the target or the network does is an `Outcome`. Rejects only when the agent has been closed, which
 * says nothing about the target, and on a URL that is none.
 */
export function deliverHttp(agent: Agent, request: HttpRequest): Promise<CallOutcome> {
  const url = new URL(request.url);
  const maxBytes = request.maxResponseBytes ?? maxResponseBytes;
  const deadline = new AbortController();
  return new Promise((resolve, reject) => {
    let controller: Dispatcher.DispatchController | null = null;
    let settled = false;
    let statusCode: number | null = null;
    let answerHeaders: AnswerHeaders = {};
    const chunks: Buffer[] = [];
    let bytes = 0;

    const settle = (outcome: CallOutcome) => {
      settled = true;
      clearTimeout(timer);
      resolve(outcome);
    };
    /** Ends the attempt by its status line; what there is of the body is the response. */
    const settleByStatus = (status: number, body: 'whole' | 'cut' | 'broken off') => {
      const response = responseText(Buffer.concat(chunks), body === 'whole' ? 'whole' : 'cut', maxBytes);
      const outcome = outcomeOfAnswer(status, answerHeaders, response);
      settle(body === 'broken off' && response !== null ? { ...outcome, isBrokenOff: true } : outcome);
    };
    const expire = () => {
      if (settled) return;
      if (statusCode === null) {
        settle(unanswered(`timeout: no answer within ${request.timeoutMs} ms`, { retryable: true }));
      } else {
        settleByStatus(statusCode, 'broken off');
      }
      controller?.abort(new Error('timeout'));
      deadline.abort();
    };
    // Not at once when the time is over: after a busy moment of this process the answer may be waiting to be
    // read, and timers run before reads.
    const timer = setTimeout(() => setImmediate(expire), request.timeoutMs);

    const handler: Dispatcher.DispatchHandler = {
      onRequestStart(started) {
        controller = started;
        // The connection came too late: nothing must be sent for an attempt that is already in the log.
        if (settled) started.abort(new Error('timeout'));
      },
      onResponseStart(_, status, headers) {
        // 1xx are hints, the answer follows.
        if (status < 200) return;
        statusCode = status;
        answerHeaders = headers;
      },
      onResponseData(responding, chunk) {
        if (settled || statusCode === null) return;
        const room = maxBytes - bytes;
        bytes += chunk.length;
        // Copied, because a chunk is a view into a buffer of 64 KB.
        chunks.push(Buffer.from(chunk.subarray(0, room)));
        if (chunk.length <= room) return;
        settleByStatus(statusCode, 'cut');
        // Reading the rest to keep the connection would let the target decide how much we read.
        responding.abort(new Error('enough'));
      },
      onResponseEnd() {
        if (!settled && statusCode !== null) settleByStatus(statusCode, 'whole');
      },
      onResponseError(_, error) {
        if (settled) return;
        if (statusCode !== null) {
          settleByStatus(statusCode, 'broken off');
        } else if (
          error instanceof errors.ClientDestroyedError ||
          error instanceof errors.ClientClosedError
        ) {
          settled = true;
          clearTimeout(timer);
          reject(error);
        } else {
          settle(outcomeOfError(error, url));
        }
      },
    };
    // `dispatch` and not `request`: it costs a third less CPU (no stream for each response), and `request` keeps
    // a request that has no connection yet waiting past its signal.
    connectSignal.run(deadline.signal, () =>
      agent.dispatch(
        {
          origin: url.origin,
          path: url.pathname + url.search,
          method: request.method,
          headers: request.headers,
          body: request.body,
        },
        handler,
      ),
    );
  });
}

type AnswerHeaders = Record<string, string | string[] | undefined>;

function outcomeOfAnswer(statusCode: number, headers: AnswerHeaders, response: string | null): CallOutcome {
  const demand = statusCode === 410 ? 'disable' : demandIn(headers);
  if (statusCode >= 200 && statusCode < 300) {
    // What has arrived is not repeated anyway.
    return { kind: 'succeeded', statusCode, response, ...(demand === 'disable' && { demand }) };
  }
  const redirect = statusCode >= 300 && statusCode < 400;
  const retryAfter = only(headers['retry-after']);
  return {
    kind: 'failed',
    retryable: isRetryableStatus(statusCode),
    statusCode,
    error: `http: status ${statusCode}${redirect ? ', redirects are not followed' : ''}`,
    response,
    ...(demand !== null && { demand }),
    ...(retryAfter !== undefined && { retryAfter }),
  };
}

// A header of Svix: https://docs.svix.com/receiving/delivery-control
function demandIn(headers: AnswerHeaders): Demand | null {
  switch (only(headers['webhook-delivery'])?.trim().toLowerCase()) {
    case 'disable':
      return 'disable';
    case 'abort-message':
      return 'abort';
    default:
      return null;
  }
}

/** The value of a header that comes once. One that comes twice could mean anything. */
const only = (value: string | string[] | undefined): string | undefined =>
  typeof value === 'string' ? value : undefined;

/**
 * The body as text that can be stored anywhere: at most `maxBytes` of UTF-8, cut between characters,
 * with U+FFFD for what is not UTF-8 and for U+0000, which terminals and many databases do not take.
 */
function responseText(body: Buffer, extent: 'whole' | 'cut', maxBytes: number): string | null {
  // As a "stream" the decoder holds back a character whose end is missing, instead of replacing it.
  const text = new TextDecoder().decode(body, { stream: extent === 'cut' }).replaceAll('\u0000', '\uFFFD');
  if (text === '') return null;
  // Each replaced byte has become three.
  const { read } = new TextEncoder().encodeInto(text, new Uint8Array(maxBytes));
  return text.slice(0, read);
}

function outcomeOfError(error: Error, url: URL): CallOutcome {
  if (error instanceof AddressRefusedError)
    return unanswered(`refused address: ${error.message}`, { retryable: false });
  // A header that undici does not send; the API does not let one through, but what is stored may be older.
  if (error instanceof errors.InvalidArgumentError)
    return unanswered(`request: ${error.message}`, { retryable: false });
  return unanswered(networkError(error, url), { retryable: true });
}

// The codes of Node's TLS errors: https://nodejs.org/api/tls.html#x509-certificate-error-codes
const tlsCode =
  /^(?:EPROTO$|ERR_SSL_|ERR_TLS_|CERT_|CRL_|UNABLE_TO_|DEPTH_ZERO_|SELF_SIGNED_|INVALID_|HOSTNAME_|PATH_|ERROR_IN_)/u;

/** A sentence for admins: the class of the failure, then what happened. Never an address or a path of our own. */
function networkError(error: Error, url: URL): string {
  const { code = '', syscall, reason } = error as NodeJS.ErrnoException & { reason?: unknown };
  if (error instanceof errors.HeadersOverflowError) return 'http: the headers of the answer are too large';
  if (error instanceof errors.HTTPParserError || error instanceof errors.ResponseContentLengthMismatchError)
    return 'http: the answer is not valid HTTP/1.1';
  if (error instanceof errors.SocketError) {
    // undici's words for a 100 or 101 that nobody asked for; all else is the end of the connection.
    return error.message.startsWith('bad ')
      ? 'http: an answer that the request did not ask for'
      : 'connection: closed by the target before it answered';
  }
  if (code === 'ENOTFOUND') return `dns: no address for ${url.hostname}`;
  if (syscall === 'getaddrinfo') return `dns: ${url.hostname} could not be resolved (${code})`;
  switch (code) {
    case 'ECONNREFUSED':
      return 'connection: refused by the target';
    case 'ECONNRESET':
    case 'EPIPE':
      return 'connection: reset by the target';
    case 'ETIMEDOUT':
    case 'UND_ERR_CONNECT_TIMEOUT':
      return 'timeout: the target did not take the connection';
    case 'EHOSTUNREACH':
    case 'ENETUNREACH':
      return 'connection: no route to the target';
    case 'ERR_TLS_CERT_ALTNAME_INVALID':
      return `tls: the certificate is not for ${url.hostname}`;
    default:
      return tlsCode.test(code)
        ? // OpenSSL's reason or verdict alone ("wrong version number", "certificate has expired"): the message
          // around it has source files and advice for whoever runs Node.
          `tls: ${typeof reason === 'string' ? reason : error.message.split(';', 1)[0]}`
        : `connection: failed (${code === '' ? error.name : code})`;
  }
}
