"""How the console is reached: the environment, the token, and when another try makes sense."""

import ipaddress
import ssl
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import boto3
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from lambda_trigger.client import Answered, Misconfigured
from lambda_trigger.client import Console as Client
from tests.lambda_trigger.conftest import event, run
from tests.lambda_trigger.console import TOKEN, Console


@pytest.fixture
def secret(environment: dict[str, str], console: Console, monkeypatch: pytest.MonkeyPatch) -> str:
    """Keep the token in Secrets Manager; return the secret's name."""
    monkeypatch.delenv("CONSOLE_TOKEN")
    name = f"console-{time.time_ns()}"
    boto3.client("secretsmanager").create_secret(Name=name, SecretString=f"{TOKEN}\n")
    monkeypatch.setenv("CONSOLE_TOKEN_SECRET", name)
    return name


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    """Return a certificate of 127.0.0.1 that nobody has signed but itself, with its key."""
    key, name = ec.generate_private_key(ec.SECP256R1()), x509.Name([])
    address, now = x509.IPAddress(ipaddress.ip_address("127.0.0.1")), datetime.now(UTC)
    built = x509.CertificateBuilder(name, name, key.public_key(), 1, now - timedelta(days=1), now + timedelta(days=1))
    signed = built.add_extension(x509.SubjectAlternativeName([address]), critical=True).sign(key, hashes.SHA256())
    secret = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    (tmp_path / "certificate.pem").write_bytes(secret + signed.public_bytes(Encoding.PEM))
    return tmp_path / "certificate.pem"


def test_a_certificate_that_nobody_vouches_for_gets_no_token(
    environment: object, console: Console, certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    console.speak_tls(certificate)
    monkeypatch.setenv("CONSOLE_URL", console.url)
    before = time.monotonic()
    with pytest.raises(ssl.SSLCertVerificationError):
        run(event("direct"))
    assert (console.requests, time.monotonic() - before < 1) == ([], True)


def test_https_goes_where_the_certificate_is_trusted(
    environment: object, console: Console, certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    console.speak_tls(certificate)
    monkeypatch.setenv("CONSOLE_URL", console.url)
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    run(event("direct"))
    assert len(console.files()) == 1


@pytest.mark.parametrize(
    ("variables", "sentence"),
    [
        ({"CONSOLE_URL": ""}, "CONSOLE_URL must be the console's address, such as https://console.example.org"),
        ({"CONSOLE_URL": "console.example.org"}, "CONSOLE_URL must be"),
        ({"CONSOLE_TOKEN": ""}, "CONSOLE_TOKEN or CONSOLE_TOKEN_SECRET .* must be set"),
        ({"CONSOLE_TOKEN": f"{TOKEN}\nX: y"}, "the console's token holds characters that no token has"),
        ({"SEND_ROWS": "maybe"}, "SEND_ROWS must be true or false, not 'maybe'"),
    ],
)
def test_what_is_not_configured_is_said(
    environment: object, monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], sentence: str
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(Misconfigured, match=sentence) as error:
        run(event("direct"))
    assert TOKEN not in str(error.value)


def test_the_address_may_have_a_path(environment: object, console: Console, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CONSOLE_URL", f"{console.url}/console/")
    with pytest.raises(Answered):
        run(event("direct"))
    assert console.requests[0].path == "/console/files"


def test_the_token_comes_from_secrets_manager_once(secret: str, console: Console) -> None:
    run(event("direct"))
    boto3.client("secretsmanager").delete_secret(SecretId=secret, ForceDeleteWithoutRecovery=True)
    run(event("direct"))
    assert [request.authorization for request in console.requests] == [f"Token {TOKEN}"] * 2


def test_a_rotated_token_is_read_again(secret: str, console: Console) -> None:
    run(event("direct"))
    console.token = "token-of-tomorrow"
    boto3.client("secretsmanager").put_secret_value(SecretId=secret, SecretString=console.token)
    run(event("direct"))
    assert [request.authorization[6:] for request in console.requests] == [TOKEN, TOKEN, console.token]


def test_a_token_that_stays_wrong_raises_and_is_not_shown(secret: str, console: Console) -> None:
    console.token = "another"
    with pytest.raises(Answered, match="POST /files: 401 authentication_failed") as error:
        run(event("direct"))
    assert TOKEN not in str(error.value)
    assert len(console.requests) == 1


def test_retry_after_is_honoured(environment: object, console: Console) -> None:
    console.trouble[0], console.retry_after = 429, "1"
    before = time.monotonic()
    run(event("direct"))
    assert 1 <= time.monotonic() - before < 2


def test_waiting_longer_than_the_time_there_is_is_not_begun(environment: object, console: Console) -> None:
    console.trouble[0], console.retry_after = 429, "100"
    before = time.monotonic()
    with pytest.raises(Exception, match="status 429; the time of this invocation is over after 1 attempts"):
        run(event("direct"), seconds=30)
    assert time.monotonic() - before < 1


def test_back_off_grows_and_has_jitter(environment: object, console: Console, monkeypatch: pytest.MonkeyPatch) -> None:
    console.trouble = dict.fromkeys(range(12), 500)
    bounds = []

    def shortest(low: float, high: float) -> float:
        bounds.append(high)
        return low

    monkeypatch.setattr("random.uniform", shortest)
    run(event("direct"))
    assert bounds[:4] == [0.1, 0.2, 0.4, 0.8]
    assert bounds[-4:] == [10.0] * 4


@pytest.mark.parametrize("status", [302, 400, 403, 404, 413])
def test_any_other_status_raises_at_once(environment: object, console: Console, status: int) -> None:
    console.trouble[0] = status
    with pytest.raises(Answered, match=f"POST /files: {status} trouble: what trouble means"):
        run(event("direct"))
    assert len(console.requests) == 1


def test_an_answer_that_is_not_the_consoles_raises(
    environment: object, console: Console, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tests.lambda_trigger.console.problem", lambda _code: ["a proxy's word"])
    console.trouble[0] = 404
    with pytest.raises(Answered, match="404 not-the-console"), Client(10) as client:
        client.post("/files", b"{}", "application/json")


def test_a_request_that_begins_as_the_time_ends_still_has_a_time_out(environment: object, console: Console) -> None:
    with Client(10) as client:
        client.deadline = time.monotonic() - 0.001
        response, _ = client._exchange("/files", b"{}", "application/json")
    assert response.status == 201
