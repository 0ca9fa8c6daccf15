"""Hands a rates file that came by e-mail on to the rates importer.

The importer is behind IMPORTER_URL; without that setting the job is returned and nothing more.
"""

import json
import os
import re
import urllib.error
import urllib.parse
import urllib.request

EVENT_TYPE = 'email_rates.import'
EXTENSIONS = ('.csv', '.txt', '.xls', '.xlsx', '.zip')
MAX_FILE_BYTES = 100 * 1024 * 1024

# Less than a handler's default limit of 30 s, so that the log says who did not answer.
POST_TIMEOUT_SECONDS = 10
# As Handoff judges HTTP targets: what may go well later. Beside them 500 and above.
RETRYABLE_STATUSES = (408, 409, 425, 429)


class PermanentError(Exception):
    """No further attempt can mend it. Handoff knows it by its name and does not retry."""


def handler(invocation, context):
    event = invocation['event']
    if event['detail-type'] != EVENT_TYPE:
        return {'ignored': True, 'reason': f"{event['detail-type']} is not about a rates file"}
    job = make_job(event)
    url = os.environ.get('IMPORTER_URL')
    if url is not None:
        post(url, job, invocation['execution']['id'], POST_TIMEOUT_SECONDS)
    return {'job': job, 'posted': url is not None}


def make_job(event):
    """What the importer takes. Raises a PermanentError that names the field that is wrong."""
    data = event['detail'].get('data')
    require(isinstance(data, dict), '', 'must be an object')
    file = data.get('file')
    require(isinstance(file, dict), '.file', 'must be an object')
    tables = data.get('rateTableIds')
    require(isinstance(tables, list) and tables, '.rateTableIds', 'must name at least one rate table')
    for index, table in enumerate(tables):
        require(is_id(table), f'.rateTableIds.{index}', 'must be an id')
    require(is_id(data.get('templateId')), '.templateId', 'must be an id')
    for name in ('from', 'subject', 'receivedAt'):
        require(isinstance(data.get(name), str), f'.{name}', 'must be a string')
    return {
        'rateTableIds': tables,
        'templateId': data['templateId'],
        'file': check_file(file),
        'source': {
            'kind': 'email',
            'from': data['from'],
            'subject': data['subject'],
            'receivedAt': data['receivedAt'],
            'eventId': event['id'],
        },
    }


def check_file(file):
    name, size, sha256, url = (file.get(key) for key in ('name', 'size', 'sha256', 'url'))
    # The importer may use it as the name of a file of its own.
    is_name = isinstance(name, str) and re.fullmatch(r'[^/\\\x00-\x1f]{1,255}', name)
    require(is_name, '.file.name', 'must be a file name without a path')
    extension = os.path.splitext(name)[1].lower()
    require(extension in EXTENSIONS, '.file.name', f"must end in {', '.join(EXTENSIONS)}")
    is_size = isinstance(size, int) and not isinstance(size, bool) and 0 < size <= MAX_FILE_BYTES
    require(is_size, '.file.size', f'must be 1 to {MAX_FILE_BYTES} bytes')
    is_hash = isinstance(sha256, str) and re.fullmatch(r'[0-9A-Fa-f]{64}', sha256)
    require(is_hash, '.file.sha256', 'must be 64 hexadecimal digits')
    require(is_https(url), '.file.url', 'must be an https:// URL')
    return {'name': name, 'size': size, 'sha256': sha256.lower(), 'url': url}


def require(condition, field, problem):
    if not condition:
        raise PermanentError(f'detail.data{field}: {problem}')


def is_id(value):
    # To Python True is a number.
    return (isinstance(value, int) and not isinstance(value, bool)) or (isinstance(value, str) and value != '')


def is_https(url):
    # The parser takes line breaks out without a word.
    if not isinstance(url, str) or re.search(r'[\x00-\x20]', url):
        return False
    try:
        parts = urllib.parse.urlsplit(url)
    except ValueError:
        return False
    return parts.scheme == 'https' and bool(parts.hostname) and '@' not in parts.netloc


class NoRedirect(urllib.request.HTTPRedirectHandler):
    """urllib would follow a redirected POST with a GET, without its body."""

    def redirect_request(self, *_):
        return None


def post(url, document, idempotency_key, timeout_seconds):
    """Raises when the document was not taken: a PermanentError when no later attempt can go well."""
    # urllib opens files too, and a setting can be mended before the last attempt.
    if not url.startswith(('https://', 'http://')):
        raise ValueError('IMPORTER_URL must be an https:// or http:// URL')
    request = urllib.request.Request(
        url,
        data=json.dumps(document).encode(),
        # The same on every attempt, so that the importer can drop repeats.
        headers={'content-type': 'application/json', 'idempotency-key': idempotency_key},
    )
    try:
        urllib.request.build_opener(NoRedirect).open(request, timeout=timeout_seconds).close()
    except urllib.error.HTTPError as answer:
        problem = f'IMPORTER_URL answered {answer.code}'
        if answer.code >= 500 or answer.code in RETRYABLE_STATUSES:
            raise RuntimeError(problem) from answer
        raise PermanentError(problem) from answer
    except OSError as error:
        raise RuntimeError(f'IMPORTER_URL gave no answer: {error}') from error
