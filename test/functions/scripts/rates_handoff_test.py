"""Run with: python3 -B -m unittest discover -s test/functions/scripts -p '*_test.py'"""

import copy
import json
import os
import socket
import sys
import threading
import unittest
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from unittest import mock

# What Python compiles beside the script would be deployed with it.
sys.dont_write_bytecode = True
sys.path.insert(0, str(Path(__file__).resolve().parents[3] / 'functions/scripts/rates-handoff'))
import lambda_function
from lambda_function import PermanentError, handler

DATA = {
    'rateTableIds': [41, 'tariff-b'],
    'templateId': 3,
    'from': 'rates@carrier.example',
    'subject': 'Rates valid from 1 December',
    'receivedAt': '2026-11-23T09:58:00+00:00',
    'file': {
        'name': 'northwind-2026-12.csv',
        'size': 48213,
        'sha256': '9F86D081884C7D659A2FEAA0C55AD015A3BF4F1B2B0B822CD15D6C15B0F00A08',
        'url': 'https://files.carrier.example/rates/northwind-2026-12.csv?version=2',
    },
}
JOB = {
    'rateTableIds': [41, 'tariff-b'],
    'templateId': 3,
    'file': {**DATA['file'], 'sha256': DATA['file']['sha256'].lower()},
    'source': {
        'kind': 'email',
        'from': 'rates@carrier.example',
        'subject': 'Rates valid from 1 December',
        'receivedAt': '2026-11-23T09:58:00+00:00',
        'eventId': 'e-1',
    },
}
MISSING = object()


def invocation(data=DATA, event_type='email_rates.import'):
    detail = {'objectId': 41} if data is MISSING else {'objectId': 41, 'data': data}
    return {
        'event': {'id': 'e-1', 'detail-type': event_type, 'detail': detail},
        'handler': {'id': 'h_1234567890abcdef', 'name': 'Rates desk'},
        'execution': {'id': 'x-1', 'attempt': 1},
    }


def with_value(path, value):
    """The data with one field changed, or left out."""
    data = copy.deepcopy(DATA)
    *parents, name = path.split('.')
    owner = data
    for parent in parents:
        owner = owner[parent]
    if value is MISSING:
        del owner[name]
    else:
        owner[name] = value
    return data


class Importer:
    """A real HTTP server that answers with `status`; with None it hangs up, with "never" it does not answer."""

    def __init__(self, status, headers=()):
        self.requests = []
        released = threading.Event()
        importer = self

        class Answer(BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers['content-length']))
                importer.requests.append((self.command, self.path, dict(self.headers), json.loads(body)))
                if status == 'never':
                    released.wait()
                if not isinstance(status, int):
                    self.close_connection = True
                    return
                self.send_response(status)
                for name, value in headers:
                    self.send_header(name, value)
                self.end_headers()

            def do_GET(self):
                importer.requests.append((self.command, self.path, dict(self.headers), None))
                self.send_response(200)
                self.end_headers()

            def log_message(self, *_):
                pass

        self._released = released
        self._server = HTTPServer(('127.0.0.1', 0), Answer)
        self._thread = threading.Thread(target=self._server.serve_forever, args=[0.01])
        self.url = f'http://127.0.0.1:{self._server.server_port}/jobs'

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._released.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


class RatesHandoffTest(unittest.TestCase):
    def setUp(self):
        # No proxy either: urllib would ask it for 127.0.0.1 too.
        environment = mock.patch.dict(os.environ, clear=True)
        environment.start()
        self.addCleanup(environment.stop)

    def test_returns_the_job_when_there_is_no_importer(self):
        self.assertEqual(handler(invocation(), None), {'job': JOB, 'posted': False})

    def test_ignores_other_events(self):
        self.assertEqual(
            handler(invocation(MISSING, 'client.create'), None),
            {'ignored': True, 'reason': 'client.create is not about a rates file'},
        )

    def test_posts_the_job_once_with_the_execution_as_its_key(self):
        for status in (200, 202, 204):
            with self.subTest(status=status), Importer(status) as importer:
                os.environ['IMPORTER_URL'] = importer.url
                self.assertEqual(handler(invocation(), None), {'job': JOB, 'posted': True})

                [(method, path, headers, body)] = importer.requests
                self.assertEqual((method, path, body), ('POST', '/jobs', JOB))
                self.assertEqual(headers['Content-Type'], 'application/json')
                self.assertEqual(headers['Idempotency-Key'], 'x-1')

    def test_is_tried_again_when_the_importer_may_take_it_later(self):
        for status in (408, 409, 425, 429, 500, 503, 599):
            with self.subTest(status=status), Importer(status) as importer:
                os.environ['IMPORTER_URL'] = importer.url
                with self.assertRaisesRegex(RuntimeError, f'^IMPORTER_URL answered {status}$'):
                    handler(invocation(), None)

    def test_is_not_tried_again_when_the_importer_refuses(self):
        for status in (400, 401, 404, 422):
            with self.subTest(status=status), Importer(status) as importer:
                os.environ['IMPORTER_URL'] = importer.url
                with self.assertRaisesRegex(PermanentError, f'^IMPORTER_URL answered {status}$'):
                    handler(invocation(), None)

    def test_follows_no_redirect(self):
        for status in (301, 302, 303, 307, 308):
            with self.subTest(status=status), Importer(status, [('location', '/elsewhere')]) as importer:
                os.environ['IMPORTER_URL'] = importer.url
                with self.assertRaisesRegex(PermanentError, f'^IMPORTER_URL answered {status}$'):
                    handler(invocation(), None)
                self.assertEqual(len(importer.requests), 1)

    def test_is_tried_again_when_nobody_listens_or_the_connection_breaks(self):
        with socket.create_server(('127.0.0.1', 0)) as closed:
            port = closed.getsockname()[1]
        os.environ['IMPORTER_URL'] = f'http://127.0.0.1:{port}/jobs'
        with self.assertRaisesRegex(RuntimeError, '^IMPORTER_URL gave no answer: .*refused'):
            handler(invocation(), None)

        with Importer(None) as importer:
            os.environ['IMPORTER_URL'] = importer.url
            with self.assertRaisesRegex(RuntimeError, '^IMPORTER_URL gave no answer: .*without response'):
                handler(invocation(), None)

    def test_does_not_wait_for_ever(self):
        with Importer('never') as importer:
            with self.assertRaisesRegex(RuntimeError, '^IMPORTER_URL gave no answer: .*timed out'):
                lambda_function.post(importer.url, JOB, 'x-1', timeout_seconds=0.2)

    def test_names_the_setting_that_is_no_url(self):
        for url in ('', 'importer.example/jobs', f'file://{__file__}'):
            with self.subTest(url=url):
                os.environ['IMPORTER_URL'] = url
                with self.assertRaisesRegex(ValueError, '^IMPORTER_URL must be an https:// or http:// URL$'):
                    handler(invocation(), None)

    def test_takes_every_kind_of_file(self):
        for name in ('a.csv', 'A.TXT', 'rates of märz.xls', 'v1.2.xlsx', 'rates.tar.zip'):
            with self.subTest(name=name):
                job = handler(invocation(with_value('file.name', name)), None)['job']
                self.assertEqual(job['file']['name'], name)

    def test_names_the_field_that_is_malformed(self):
        not_an_object = (MISSING, None, [], 'x')
        not_an_id = (MISSING, None, True, '', 1.5, [3])
        not_a_text = (MISSING, None, 7)
        not_a_url = ('http://a.example/f.csv', 'ftp://a.example/f.csv', 'a.example/f.csv', 'https://', 'https:///f')
        cases = {
            'file': not_an_object,
            'rateTableIds': (MISSING, None, [], 41, {'41': 41}),
            'templateId': not_an_id,
            'from': not_a_text,
            'subject': not_a_text,
            'receivedAt': not_a_text,
            'file.name': (*not_a_text, '', 'rates', '.csv', 'rates.exe', 'rates.csv.exe', '../rates.csv', 'a\\b.csv',
                          'a\nb.csv', 'a\x00.csv', 'rates.csv\n', f"{'x' * 252}.csv"),
            'file.size': (*not_a_text[:2], True, 0, -1, 1.5, '48213', 100 * 1024 * 1024 + 1),
            'file.sha256': (*not_a_text, '', '9f86', 'g' * 64, '9' * 65, '9' * 64 + '\n'),
            'file.url': (*not_a_text, *not_a_url, 'https://a.example/a b.csv', 'https://a.example/f\n.csv',
                         'https://user:word@a.example/f.csv', 'https://[::1/f.csv'),
        }
        for field, values in cases.items():
            for value in values:
                with self.subTest(field=field, value=value):
                    with self.assertRaisesRegex(PermanentError, rf'^detail\.data\.{field}: must '):
                        handler(invocation(with_value(field, value)), None)

        for value in not_an_object:
            with self.subTest(data=value), self.assertRaisesRegex(PermanentError, r'^detail\.data: must be an object$'):
                handler(invocation(value), None)
        for value in not_an_id[1:]:
            with self.subTest(table=value), self.assertRaisesRegex(PermanentError, r'^detail\.data\.rateTableIds\.1: '):
                handler(invocation(with_value('rateTableIds', [41, value])), None)

    def test_takes_a_file_of_exactly_the_largest_size(self):
        job = handler(invocation(with_value('file.size', 100 * 1024 * 1024)), None)['job']
        self.assertEqual(job['file']['size'], 104_857_600)


if __name__ == '__main__':
    unittest.main()
