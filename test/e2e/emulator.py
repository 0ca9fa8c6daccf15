"""Starts the AWS emulator, with what AWS does otherwise put right, and a record of every call.

Started by emulator.ts. It ends with its parent, when its standard input is closed, and takes its FOLDER along.

What is put right (the emulator knows none of it, and refuses what AWS allows):
- The batch actions of SQS need the permission of the single one.
  https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-api-permissions-reference.html
- A policy of KMS may have a condition on the encryption context of the request.
  https://docs.aws.amazon.com/kms/latest/developerguide/conditions-kms.html#conditions-kms-encryption-context
- A policy of DynamoDB may have a condition on the partition keys of the rows that are named.
  https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/specifying-conditions.html
- API Gateway knows the keys of a user pool however the emulator is spoken to; it would ask itself for them in plain HTTP.

RECORDED_CALLS names a file that gets a line of JSON for each call that a policy decides on.
"""

import json
import os
import re
import shutil
import signal
import threading

import ministack.app
from ministack.core import iam_actions, iam_evaluator
from ministack.core.responses import get_account_id
from ministack.services import apigateway, cognito, dynamodb

RECORDED_CALLS = os.environ.get("RECORDED_CALLS")
SINGLE_ACTIONS = {
    "sqs:SendMessageBatch": "sqs:SendMessage",
    "sqs:DeleteMessageBatch": "sqs:DeleteMessage",
    "sqs:ChangeMessageVisibilityBatch": "sqs:ChangeMessageVisibility",
}

extract_iam_action = iam_actions.extract_iam_action
request_tag_context = iam_actions.request_tag_context
enforce = iam_evaluator.enforce
fetch_jwks = apigateway._fetch_jwks
OWN_KEYS = re.compile(
    rf"http://{re.escape(apigateway._HOST)}:{apigateway._PORT}/(?P<pool>[^/]+)/\.well-known/jwks\.json"
)


def action_of(*request):
    action = extract_iam_action(*request)
    return SINGLE_ACTIONS.get(action, action)


def context_of(service, action, body, params):
    context = dict(request_tag_context(service, action, body, params))
    if service == "kms":
        for name, value in (json.loads(body or b"{}").get("EncryptionContext") or {}).items():
            context[f"kms:EncryptionContext:{name}"] = value
    if service == "dynamodb":
        keys = leading_keys(json.loads(body or b"{}"))
        if keys:
            context["dynamodb:LeadingKeys"] = keys
    return context


def leading_keys(request):
    """Values of the partition key, of whatever a request reads, writes or deletes by its key."""
    rows = list(rows_in(request.get("TableName"), request))
    for item in request.get("TransactItems") or []:
        for part in item.values():
            rows += rows_in(part.get("TableName"), part)
    for table, wanted in (request.get("RequestItems") or {}).items():
        for part in [wanted] if isinstance(wanted, dict) else [each for one in wanted for each in one.values()]:
            rows += rows_in(table, part)
    return [value for row in rows for value in row.values()]


def rows_in(table, part):
    name = (dynamodb._tables.get(table) or {}).get("pk_name")
    for row in [part.get("Key"), part.get("Item"), *(part.get("Keys") or [])]:
        if row and name in row:
            yield row[name]


def record_and_enforce(access_key, action, service, region, resource_arn="*", service_context=None):
    denied = enforce(access_key, action, service, region, resource_arn, service_context)
    if RECORDED_CALLS:
        principal = iam_evaluator.resolve_principal(access_key or "", get_account_id())
        call = {
            "principal": getattr(principal, "arn", None),
            "action": action,
            "resource": resource_arn,
            "allowed": denied is None,
        }
        with calls_lock, open(RECORDED_CALLS, "a", encoding="utf-8") as file:
            file.write(json.dumps(call) + "\n")
    return denied


async def keys_of(url):
    own = OWN_KEYS.fullmatch(url)
    if own is None:
        return await fetch_jwks(url)
    _, _, body = cognito.well_known_jwks(own["pool"])
    return json.loads(body)


def end_with_parent():
    while os.read(0, 1024):
        pass
    os.kill(os.getpid(), signal.SIGTERM)


calls_lock = threading.Lock()
iam_actions.extract_iam_action = action_of
iam_actions.request_tag_context = context_of
iam_evaluator.enforce = record_and_enforce
apigateway._fetch_jwks = keys_of
threading.Thread(target=end_with_parent, daemon=True).start()
try:
    ministack.app.main()
finally:
    shutil.rmtree(os.environ["FOLDER"], ignore_errors=True)
