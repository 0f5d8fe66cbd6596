"""The environment, typed and checked in one place; every mistake is reported at once."""

import os
import re
import tempfile
from pathlib import Path
from typing import Annotated, Any, Self
from urllib.parse import urlsplit

import dj_database_url
from pydantic import AfterValidator, Field, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

ROOT = Path(__file__).resolve().parent.parent

DATABASES = {"sqlite": "a file, sqlite:////absolute/path", "mysql": "mysql://user:password@host:3306/schema"}
BROKERS = {"filesystem", "amqp", "amqps", "sqs", "memory"}


def check_database_url(url: str) -> str:
    """Check a DATABASE_URL; only SQLite and MySQL hold the ledger and the tables in one transaction."""
    if urlsplit(url).scheme not in DATABASES:
        raise ValueError("use one of: " + "; ".join(DATABASES.values()))
    return url


def check_lake_url(url: str) -> str:
    """Check a LAKE_URL: the folder or the bucket that holds raw/, processed/, errors/ and backups/."""
    if re.fullmatch(r"s3://[a-z0-9][a-z0-9.-]{1,61}[a-z0-9](/[^?#]*)?", url):
        return url
    if not url.startswith("file:") or not url.removeprefix("file:").lstrip("/"):
        raise ValueError("use a folder, as in file:var/lake or file:/srv/lake, or a bucket, as in s3://bucket/prefix")
    return url


def check_broker_url(url: str) -> str:
    """Check a CELERY_BROKER_URL."""
    if urlsplit(url).scheme not in BROKERS:
        raise ValueError("use one of: " + ", ".join(sorted(f"{scheme}://" for scheme in BROKERS)))
    return url


def check_secret_key(key: str) -> str:
    """Refuse a key that could be guessed."""
    if len(key) < 32 or len(set(key)) < 8:
        raise ValueError("needs at least 32 characters of chance; `make setup` writes one into .env")
    return key


class Env(BaseSettings):
    """What an operator sets; see .env.example."""

    model_config = SettingsConfigDict(
        env_file=ROOT / ".env", extra="ignore", env_ignore_empty=True, validate_default=False, hide_input_in_errors=True
    )

    # Where the embedded default keeps database, broker and lake.
    var_folder: Path = ROOT / "var"
    database_url: Annotated[str, AfterValidator(check_database_url)] = ""
    lake_url: Annotated[str, AfterValidator(check_lake_url)] = ""
    celery_broker_url: Annotated[str, AfterValidator(check_broker_url)] = "filesystem://localhost"
    secret_key: Annotated[str, AfterValidator(check_secret_key)]
    debug: bool = False
    allowed_hosts: Annotated[list[str], NoDecode] = ["localhost", "127.0.0.1"]
    csrf_trusted_origins: Annotated[list[str], NoDecode] = []
    # People and scripts come by https only; and through how many proxies, each of which adds to X-Forwarded-For.
    https: bool = False
    proxies: Annotated[int, Field(ge=0, le=10)] = 0
    lease_seconds: Annotated[float, Field(ge=1, le=3600)] = 60
    sweep_seconds: Annotated[float, Field(ge=1)] = 60
    # How often the sweep lists raw/: at each sweep in a folder, in a bucket every quarter of an hour.
    lake_list_seconds: Annotated[float, Field(ge=0)] | None = None
    max_file_bytes: Annotated[int, Field(gt=0)] = 10 * 1024**3
    # How much of a file one transaction loads, and one worker claims.
    batch_bytes: Annotated[int, Field(ge=1 << 10, le=64 << 20)] = 4 << 20
    part_bytes: Annotated[int, Field(ge=64 << 10)] = 32 << 20
    # How many sessions read, or write, one big table at once.
    backup_readers: Annotated[int, Field(ge=1, le=32)] = 2
    log_level: str = "INFO"

    @model_validator(mode="after")
    def embedded(self) -> Self:
        """Fill in the embedded default, which needs no server at all."""
        self.var_folder = self.var_folder.resolve()
        self.database_url = self.database_url or f"sqlite:///{self.var_folder}/console.sqlite3"
        self.lake_url = self.lake_url or f"file:{self.var_folder}/lake"
        if self.lake_list_seconds is None:
            self.lake_list_seconds = 1800 if self.lake_url.startswith("s3:") else 0
        return self

    @field_validator("allowed_hosts", "csrf_trusted_origins", mode="before")
    @classmethod
    def comma_separated(cls, value: Any) -> Any:
        """Split a,b,c."""
        return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value


def read_env() -> Env:
    """Return the checked environment, or stop with every mistake in it."""
    try:
        return Env()  # type: ignore[call-arg]  # the environment gives the rest
    except ValidationError as error:
        lines = [f"  {str(e['loc'][0]).upper()}: {e['msg'].removeprefix('Value error, ')}" for e in error.errors()]
        raise SystemExit("The environment (or .env) needs mending:\n" + "\n".join(lines)) from None


def database(url: str) -> dict[str, Any]:
    """Return Django's settings for one database URL.

    On MySQL: strict to the last mode, UTC, READ COMMITTED, and LOAD DATA LOCAL asked for.
    """
    config: dict[str, Any] = dict(dj_database_url.parse(url))
    if config["ENGINE"].endswith("sqlite3"):
        # IMMEDIATE takes the write lock at BEGIN: two writers queue instead of failing half-way.
        config["OPTIONS"] = {
            "transaction_mode": "IMMEDIATE",
            "timeout": 60,
            "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL;",
        }
        # A file, so that the processes that a test starts see the same database.
        config["TEST"] = {"NAME": str(Path(tempfile.gettempdir()) / f"console-test-{os.getpid()}.sqlite3")}
        return config
    config["OPTIONS"] = {
        **config.get("OPTIONS", {}),
        "charset": "utf8mb4",
        "isolation_level": "read committed",
        "local_infile": True,
        "init_command": f"SET sql_mode='{SQL_MODE}', time_zone='+00:00', innodb_lock_wait_timeout=10",
    }
    config["TEST"] = {"CHARSET": "utf8mb4"}
    # A request that loads a batch takes less time than a new connection; one that the server has closed is replaced.
    config |= {"CONN_MAX_AGE": 60, "CONN_HEALTH_CHECKS": True}
    return config


SQL_MODE = (
    "STRICT_ALL_TABLES,NO_ZERO_DATE,NO_ZERO_IN_DATE,ERROR_FOR_DIVISION_BY_ZERO,"
    "NO_AUTO_VALUE_ON_ZERO,NO_ENGINE_SUBSTITUTION"
)
