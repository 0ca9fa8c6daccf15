# Runs one call of a Python script in a process of its own and tells the engine what came of it: script-runner.mjs for
# Python. It needs nothing but the standard library of Python 3.8.
import fcntl
import importlib
import json
import os
import select
import signal
import sys
import threading
import time
import traceback

CALL_PIPE = 3
LIFELINE = 4
# Lambda takes 6 MB and a little.
MAX_RESPONSE_BYTES = 6_291_556
MAX_ERROR_LENGTH = 10_000


def watch_engine():
    """Ends the script and its children when the engine is gone, however that ended, even out of a loop."""
    os.set_inheritable(CALL_PIPE, False)
    os.set_inheritable(LIFELINE, False)
    if not hasattr(fcntl, 'F_SETSIG'):
        threading.Thread(target=wait_for_end_of_engine, daemon=True).start()
        return
    # On Linux the kernel sends the signal. A thread needs Python's global lock, and a regular expression, say, can hold
    # that for hours. It must not read at the same time: a pipe somebody waits for sends no signals.
    fcntl.fcntl(LIFELINE, fcntl.F_SETOWN, -os.getpgrp())
    fcntl.fcntl(LIFELINE, fcntl.F_SETSIG, signal.SIGKILL)
    flags = fcntl.fcntl(LIFELINE, fcntl.F_GETFL)
    fcntl.fcntl(LIFELINE, fcntl.F_SETFL, flags | os.O_ASYNC)
    # The engine may have ended before that.
    if select.select([LIFELINE], [], [], 0)[0]:
        wait_for_end_of_engine()


def wait_for_end_of_engine():
    os.read(LIFELINE, 1)
    os.kill(0, signal.SIGKILL)


def read_call():
    """One line of JSON, then `payloadBytes` of payload. Without all of it there is nothing to do: the engine is gone."""
    with open(CALL_PIPE, 'rb', closefd=False) as pipe:
        header = json.loads(pipe.readline() or sys.exit(1))
        payload = pipe.read(header['payloadBytes'])
    if len(payload) < header['payloadBytes']:
        sys.exit(1)
    return header, payload


class Context:
    """The parts of Lambda's context that do not need AWS."""

    function_version = '$LATEST'

    def __init__(self, call):
        self.function_name = call['functionName']
        self.memory_limit_in_mb = str(call['memoryMb'])
        self.aws_request_id = call['requestId']
        self._ends_at = call['endsAt']

    def get_remaining_time_in_millis(self):
        return max(0, round(self._ends_at - time.time() * 1000))


def load_handler(call):
    # Packages may lie beside the script, as they do in Lambda.
    sys.path.insert(0, call['folder'])
    try:
        script = importlib.import_module('lambda_function')
    except SyntaxError as error:
        print_error(call, error)
        report_error(call, 'Runtime.UserCodeSyntaxError', error)
    except ImportError as error:
        print_error(call, error)
        report_error(call, 'Runtime.ImportModuleError', f"Unable to import module 'lambda_function': {error}")
    except Exception as error:
        fail(call, error)
    if not callable(getattr(script, 'handler', None)):
        report_error(call, 'Runtime.HandlerNotFound', "Handler 'handler' missing on module 'lambda_function'")
    return script.handler


def plain(value):
    """Lambda's runtime for Python writes decimals as numbers too."""
    decimal = sys.modules.get('decimal')
    if decimal is not None and isinstance(value, decimal.Decimal):
        return float(value)
    raise TypeError(f'Object of type {type(value).__name__} is not JSON serializable')


def succeed(call, result):
    try:
        # NaN and Infinity are not JSON.
        text = json.dumps(result, default=plain, allow_nan=False, ensure_ascii=False)
    except Exception as error:
        report_error(call, 'Runtime.MarshalError', f'Unable to marshal response: {error}')
    # Half a surrogate pair has no UTF-8, but an escape in JSON.
    body = text.encode('utf-8', 'backslashreplace')
    if len(body) > MAX_RESPONSE_BYTES:
        message = f'Response payload size exceeded maximum allowed payload size ({MAX_RESPONSE_BYTES} bytes).'
        report_error(call, 'Function.ResponseSizeTooLarge', message)
    report(call, 'R', body)


def fail(call, error):
    print_error(call, error)
    report_error(call, type(error).__name__, error)


def print_error(call, error):
    """Into the output, with the script's part of the stack, where Lambda has it too."""
    own = error.__traceback__
    while own is not None and not own.tb_frame.f_code.co_filename.startswith(call['folder']):
        own = own.tb_next
    lines = traceback.format_exception(type(error), error, own)
    print(''.join(lines).replace(f"{call['folder']}/", ''), end='', file=sys.stderr)


def report_error(call, error_type, message):
    try:
        message = str(message)[:MAX_ERROR_LENGTH]
    except Exception:
        message = 'something that cannot be shown'
    report(call, 'E', json.dumps({'errorType': error_type, 'errorMessage': message}).encode())


def report(call, kind, body):
    """
    Sends the end of the call (R: what was returned, E: what went wrong) and stands still until the engine ends the
    process: nothing goes on behind a result. In Lambda the environment is frozen at this point.
    """
    sys.stdout.flush()
    frame = memoryview(f"{call['token']}{kind}{len(body)}\n".encode() + body)
    while frame:
        frame = frame[os.write(CALL_PIPE, frame) :]
    while True:
        signal.pause()


def main():
    watch_engine()
    # One pipe for both keeps them in the order in which they are written.
    os.dup2(1, 2)
    call, payload = read_call()
    handler = load_handler(call)
    try:
        result = handler(json.loads(payload), Context(call))
    except Exception as error:
        fail(call, error)
    succeed(call, result)


main()
