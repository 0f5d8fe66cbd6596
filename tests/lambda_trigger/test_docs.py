"""What docs/lambda.md shows is what AWS takes."""

import json
import re
from typing import Any

from migration_console.env import ROOT

PAGE = (ROOT / "docs/lambda.md").read_text()


def files(name: str) -> list[Any]:
    """Return the JSON files of a name that the page's commands write."""
    texts = re.findall(rf"^cat >{name} <<(\w+)\n(.*?)^\1$", PAGE, re.MULTILINE | re.DOTALL)
    # The shell leaves a backslash alone before a quotation mark.
    return [json.loads(text) for _, text in texts]


def test_the_policy_allows_what_the_code_calls() -> None:
    (policy,) = files("policy.json")
    actions = [one["Action"] for one in policy["Statement"]]
    assert {"s3:GetObjectVersion", "s3:ListBucket", "secretsmanager:GetSecretValue"} == set(actions[:3])
    assert "*" not in json.dumps(actions)


def test_both_notifications_are_of_objects_created_under_raw() -> None:
    for (found,) in (notification.values() for notification in files("notification.json")):
        assert found[0]["Events"] == ["s3:ObjectCreated:*"]
        assert found[0]["Filter"]["Key"]["FilterRules"] == [{"Name": "prefix", "Value": "raw/"}]


def test_only_the_bucket_may_send_to_the_queue() -> None:
    (queue,) = files("queue.json")
    (statement,) = json.loads(queue["Policy"])["Statement"]
    assert statement["Condition"]["ArnEquals"] == {"aws:SourceArn": "arn:aws:s3:::$BUCKET"}
    assert json.loads(queue["RedrivePolicy"])["maxReceiveCount"] == 5


def test_every_variable_of_the_code_is_explained() -> None:
    code = "".join(path.read_text() for path in (ROOT / "lambda_trigger").glob("*.py"))
    read = set(re.findall(r'environ\.get\("([A-Z_]+)"', code))
    assert read == set(re.findall(r"^\| `([A-Z_]+)`", PAGE, re.MULTILINE))
