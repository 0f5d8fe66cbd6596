"""The Lambda as AWS runs it: by the real runtime client, in a process of its own."""

import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from lambda_trigger.handler import MARGIN
from tests.lambda_trigger.conftest import HEADER, event, lines, put
from tests.lambda_trigger.console import TOKEN, Console
from tests.runtime import Function, FunctionError

if TYPE_CHECKING:
    from types_boto3_s3 import S3Client


@pytest.fixture
def function(environment: dict[str, str]) -> Iterator[Function]:
    """Return the deployed function."""
    with Function(environment) as function:
        yield function
        assert TOKEN not in function.output


def test_an_event_goes_in_and_the_rows_come_out(function: Function, s3: "S3Client", console: Console) -> None:
    data = lines(10_000)
    assert function.invoke(put(s3, console, data)) is None
    assert console.received == data[len(HEADER) :]
    assert len(console.slices()) == 10
    assert "run 7: sent up to byte" in function.output


def test_messages_that_failed_are_named(function: Function, console: Console) -> None:
    failures = function.invoke(event("sqs"))["batchItemFailures"]
    assert [failure["itemIdentifier"][-1] for failure in failures] == ["2", "5"]


def test_an_exception_is_reported_with_type_and_stack(function: Function, console: Console) -> None:
    console.trouble[0] = 403
    with pytest.raises(FunctionError) as error:
        function.invoke(event("direct"))
    report = error.value.report
    assert (report["errorType"], report["errorMessage"]) == ("Answered", "POST /files: 403 trouble: what trouble means")
    assert any("handler.py" in line for line in report["stackTrace"])
    assert function.invoke(event("direct")) is None


def test_a_token_in_a_broken_environment_is_not_shown(environment: dict[str, str]) -> None:
    with Function(environment | {"CONSOLE_TOKEN": f"{TOKEN}\n{TOKEN}"}) as function:
        with pytest.raises(FunctionError, match="Misconfigured: the console's token holds"):
            function.invoke(event("direct"))
        assert TOKEN not in function.output


def test_a_function_that_does_not_start_says_why(environment: dict[str, str]) -> None:
    started = Function(environment, handler="lambda_trigger.nothing.handler")
    with started as function, pytest.raises(FunctionError, match=r"Runtime\.ImportModuleError"):
        function.invoke(event("direct"))


def test_the_deadline_of_the_invocation_is_kept(function: Function, s3: "S3Client", console: Console) -> None:
    event = put(s3, console, lines(50_000))
    function.invoke({"Event": "s3:TestEvent"})
    console.delay = 0.1
    function.invoke(event, seconds=MARGIN + 1.5)
    assert console.slices()[-1].query["last"] == "true"
    assert 0 < len(console.received) < len(lines(50_000)) - len(HEADER)


def kill(function: Function, console: Console) -> None:
    """Kill the function while it waits for the answer to its fifth slice."""
    while len(console.slices()) < 5:
        time.sleep(0.005)
    function.kill()


def test_a_killed_function_starts_anew(function: Function, s3: "S3Client", console: Console) -> None:
    event = put(s3, console, lines(20_000))
    console.delay = 0.05
    threading.Thread(target=kill, args=(function, console)).start()
    with pytest.raises(FunctionError, match=r"Runtime\.ExitError: the process ended with -9"):
        function.invoke(event)
    assert 5 <= len(console.slices()) < 20
    console.received, console.answered, console.delay = b"", {}, 0.0
    assert function.invoke(event) is None
    assert console.received == lines(20_000)[len(HEADER) :]


def test_an_event_that_outlasts_its_time_ends_the_process(tmp_path: Path) -> None:
    (tmp_path / "slow.py").write_text("import time\ndef handler(event, context): time.sleep(event)\n")
    with Function({}, code=tmp_path, handler="slow.handler") as function:
        before = time.monotonic()
        with pytest.raises(FunctionError, match=r"Sandbox\.Timedout"):
            function.invoke(30, seconds=0.5)
        assert time.monotonic() - before < 5
        assert function.invoke(0) is None
