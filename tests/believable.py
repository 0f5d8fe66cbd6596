"""A console as it looks after some weeks of work: for the checks that run over all pages, and for screenshots."""

import io
import random
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from typing import Any
from unittest.mock import patch

from django.contrib.auth import get_user_model
from django.contrib.auth.models import User
from django.db.models import Model

from backups.models import Backup, BackupStatus, ListedTable, Restore
from backups.services import (
    bring_back,
    check,
    request_backup,
    request_check,
    request_dry_run,
    request_restore,
    set_plan,
    take,
    try_out,
)
from ingest.admission import admit_upload
from ingest.amending import dismiss, edit
from ingest.datasets import save_dataset
from ingest.editing import draft_of_file
from ingest.models import Dataset, Part, Reject, Run, Status, key_hash
from ingest.rejects import Choice
from ingest.sweeper import work_off
from migration_console import people, tokens
from migration_console.lib.audit import record

NAMES = [
    "Ada Lindqvist", "Bruno Costa", "Chidi Okafor", "Dora Ebner", "Emeka Obi", "Farida Khan", "Goran Ilić", "Hana Sato",
]  # fmt: skip
COUNTRIES = ["AT", "BR", "DE", "FR", "GB", "JP", "NG", "SE"]
CUSTOMERS: dict[str, Any] = {
    "name": "customers",
    "mode": "upsert",
    "schema": {
        "fields": [
            {"name": "id", "type": "integer", "constraints": {"required": True, "minimum": 1}},
            {"name": "name", "strip": True, "constraints": {"required": True, "maxLength": 60}},
            {"name": "email", "format": "email", "constraints": {"maxLength": 80}},
            {"name": "country", "case": "upper", "constraints": {"pattern": "[A-Z]{2}", "maxLength": 2}},
            {"name": "born", "type": "date", "constraints": {"minimum": "1900-01-01"}},
        ],
        "primaryKey": "id",
    },
}
ORDERS: dict[str, Any] = {
    "name": "orders",
    "schema": {
        "fields": [
            {"name": "number", "type": "integer", "constraints": {"required": True}},
            {"name": "customer", "type": "integer", "constraints": {"required": True}},
            {"name": "placed", "type": "date"},
            {"name": "amount", "type": "number", "sqlType": "DECIMAL(10,2)", "constraints": {"minimum": 0}},
        ],
        "primaryKey": "number",
    },
}
PRODUCTS: dict[str, Any] = {
    "name": "products",
    "mode": "replace",
    "schema": {
        "fields": [
            {"name": "sku", "constraints": {"required": True, "maxLength": 20}},
            {"name": "title", "constraints": {"required": True, "maxLength": 80}},
            {"name": "price", "type": "number", "sqlType": "DECIMAL(8,2)"},
        ],
        "primaryKey": "sku",
    },
}


@contextmanager
def at(days_ago: float) -> Iterator[None]:
    """Let Django's clock stand some days back, and go on from there."""
    began, start = time.monotonic(), datetime.now(UTC) - timedelta(days=days_ago)
    with patch("django.utils.timezone.now", lambda: start + timedelta(seconds=time.monotonic() - began)):
        yield


def customers(chance: random.Random, first: int, rows: int, bad: float) -> str:
    """Return a file of customers, some of them wrong."""
    lines = ["id,name,email,country,born"]
    for number in range(first, first + rows):
        name = chance.choice(NAMES)
        email = f"{name.split()[0].lower()}{number}@example.org"
        country, born = chance.choice(COUNTRIES), str(date(1950, 1, 1) + timedelta(days=chance.randrange(20000)))
        if chance.random() < bad:
            email, country, born = chance.choice(
                [("not known", country, born), (email, "Austria", born), (email, country, "31.02.1988")]
            )
        lines.append(f"{number},{name},{email},{country},{born}")
    return "\n".join(lines) + "\n"


def orders(chance: random.Random, first: int, rows: int, bad: float) -> str:
    """Return a file of orders, some of them wrong."""
    lines = ["number,customer,placed,amount"]
    for number in range(first, first + rows):
        amount = (
            f"{chance.randrange(100, 90000) / 100:.2f}" if chance.random() >= bad else chance.choice(["12,50", "-3"])
        )
        placed = date(2026, 1, 1) + timedelta(days=chance.randrange(200))
        lines.append(f"{number},{chance.randrange(1, 500)},{placed},{amount}")
    return "\n".join(lines) + "\n"


PRODUCT_FILE = "sku,title,price\nA-100,Kettle,39.90\nA-101,Teapot,24.50\nA-102,Strainer,4.20\n"


def loaded(name: str, text: str, *, days_ago: float, by: User, **more: Any) -> Run:
    """Load a file as it would have been then."""
    with at(days_ago):
        run = admit_upload(f"raw/{name}", io.BytesIO(text.encode()), trigger="upload", dataset=None, user=by, **more)
        (run,) = work_off([run])
    return run


def add_people() -> dict[str, User]:
    """Add an administrator, a steward, an operator, an auditor, and somebody who will leave."""
    with at(40):
        ann = get_user_model().objects.create_superuser("ann", password="correct horse battery")
        found = {"ann": ann}
        for name, group in [("bob", "steward"), ("cleo", "operator"), ("dan", "auditor"), ("eve", "steward")]:
            found[name] = people.add_person(name, groups=[group], admin=False, by=ann)
            # One hash for all: hashing is slow on purpose.
            found[name].password = ann.password
            found[name].save(update_fields=["password"])
    # Django took hold of the clock before we did.
    User.objects.update(date_joined=ann.date_joined - timedelta(days=40))
    with at(30):
        tokens.make_token("nightly-orders", groups=["ingest"], days=365, by=found["cleo"])
        tokens.make_token("bi-export", groups=["read"], days=35, by=found["cleo"])
    return found


def change_people(ann: User, bob: User, cleo: User, eve: User) -> None:
    """Let somebody leave, invite somebody, give and take rights, make and revoke tokens."""
    with at(9):
        people.deactivate(eve, by=ann)
    with at(6):
        people.change_rights(bob, groups=["steward", "operator"], admin=False, by=ann)
        people.change_rights(bob, groups=["steward"], admin=False, by=ann)
    with at(3):
        old, _ = tokens.make_token("prometheus", groups=["read"], days=90, by=cleo)
        tokens.make_token("prometheus", groups=["read"], days=365, by=cleo)
        tokens.revoke_token(old, by=cleo)
    with at(1):
        people.add_person("finn", groups=["steward", "auditor"], admin=False, by=ann)


def add_files(chance: random.Random, bob: User, days: int) -> None:
    """Load files over some days, most of them well."""
    with at(20):
        for descriptor in (CUSTOMERS, ORDERS, PRODUCTS):
            save_dataset(descriptor, user=bob)
    for day in range(days, 0, -1):
        with_errors = 0.08 if day in (2, 6) else 0.0
        loaded(f"customers-{day:02}.csv", customers(chance, day * 100, 60, with_errors), days_ago=day, by=bob)
        loaded(f"orders-{day:02}.csv", orders(chance, day * 1000, 80, with_errors / 2), days_ago=day - 0.2, by=bob)
    loaded("products.csv", PRODUCT_FILE, days_ago=5, by=bob)
    twice = orders(chance, 80_000, 5, 0)
    for name in ("orders-first.csv", "orders-again.csv"):  # the second one is a duplicate
        loaded(name, twice, days_ago=4, by=bob)
    loaded("customers-new.csv", "id;name\n1;Ada\n", days_ago=0.4, by=bob)  # refused
    last = loaded("orders-today.csv", orders(chance, 90_000, 120, 0.1), days_ago=0.1, by=bob)
    rows = list(last.rejects.order_by("row").values_list("row", flat=True))
    with at(0.05):
        dismiss(last, Choice(rows=rows[:1]), "a test order of the shop", user=bob)
        edit(last, rows[1], {"amount": "12.50"}, user=bob)


def add_beginnings(chance: random.Random, bob: User) -> None:
    """Add a file that no dataset matches, and a draft that is being made from a sample with bad rows."""
    loaded("returns-2026-11.csv", "number,reason\n1,too small\n2,too late\n", days_ago=0.2, by=bob)
    sample = customers(chance, 1, 40, 0.2)
    draft = draft_of_file(io.BytesIO(sample.encode()), "subscribers.csv", user=bob)
    fields = CUSTOMERS["schema"]["fields"]
    draft.descriptor = {**draft.descriptor, "schema": {"fields": fields, "primaryKey": "id"}}
    draft.save(update_fields=["descriptor"])


def add_run(status: str, dataset: Dataset, **fields: Any) -> Run:
    """Make a run that stands somewhere on its way."""
    key = f"raw/{dataset.name}-{status.replace(' ', '-')}.csv"
    return Run.objects.create(
        dataset=dataset, key=key, key_hash=key_hash(key), version=status, size=48_000_000, status=status, **fields
    )


def add_states(bob: User) -> None:
    """Add a run in each state that files do not come to by themselves here."""
    dataset = Dataset.objects.get(name="customers")
    with at(0.01):
        version = dataset.current
        half = add_run(
            Status.LOADING, dataset, schema_version=version, user=bob, trigger="upload", read=310_000, loaded=305_400,
            rejected=4_600, survey={"records": 800_000},
        )  # fmt: skip
        Run.objects.filter(pk=half.pk).update(started_at=half.received_at)
        Part.objects.create(
            run=half, number=0, start=20, end=48_000_000, first_row=1, first_line=2, next_byte=18_600_000,
            next_row=310_001, next_line=310_002,
        )  # fmt: skip
        add_run(Status.RECEIVED, dataset, trigger="event")
    with at(0.5):
        ended: dict[str, Any] = {"trigger": "event", "schema_version": version}
        for status in (Status.FAILED, Status.CANCELLED, Status.SUPERSEDED, Status.GONE, Status.ROLLED_BACK):
            run = add_run(status, dataset, **ended)
            Run.objects.filter(pk=run.pk).update(
                started_at=run.received_at, finished_at=run.received_at, closed_at=run.received_at
            )
    problem = {"code": "disk-full", "message": "The database server has no room left on its disk.", "where": ""}
    Run.objects.filter(status=Status.FAILED).update(problems=[problem], attention=True)


def add_backups(cleo: User) -> None:
    """Back two tables up, prove one, bring one back."""
    with at(8):
        set_plan("customers", user=cleo, schedule="0 3 * * *", keep_last=7, keep_weekly=4)
    for day in (7, 3, 1):
        with at(day):
            backup = take(request_backup("customers", user=cleo).pk)
            check(request_check(backup, rehearse=day == 3, bell=False).pk)
    with at(2):
        take(request_backup("products", user=cleo).pk)
        bring_back(request_restore("products", user=cleo).pk)
    try_out(request_dry_run("customers", user=cleo).pk)
    refused = {"code": "no-space", "message": "The lake has no room left.", "where": ""}
    Backup.objects.create(table="orders", status=BackupStatus.FAILED, requested_by=cleo, problems=[refused])


def fill(days: int = 2) -> dict[str, User]:
    """Fill an empty console; return its people."""
    chance = random.Random(7)
    found = add_people()
    add_files(chance, found["bob"], days)
    add_states(found["bob"])
    add_beginnings(chance, found["bob"])
    add_backups(found["cleo"])
    change_people(*(found[name] for name in ("ann", "bob", "cleo", "eve")))
    for model, action, name in (
        (Dataset, "dataset.saved", "bob"),
        (Run, "run.uploaded", "bob"),
        (Backup, "backup.requested", "cleo"),
    ):
        subject = model._default_manager.order_by("-pk").first()
        assert isinstance(subject, Model)
        record(action, subject, user=found[name], note="as agreed")
    return found


def examples() -> dict[str, list[Any]]:
    """Return keys of objects worth a page of their own, by application and model: runs in each state, and so on."""
    found: dict[str, list[Any]] = {
        "ingest/run": [
            Run.objects.filter(status=status).latest("pk").pk for status in Status if Run.objects.filter(status=status)
        ],
        "ingest/reject": [Reject.objects.filter(state=Reject.State.OPEN).latest("pk").pk],
        "backups/backup": [Backup.objects.filter(status=status).latest("pk").pk for status in ("done", "failed")],
        "backups/restore": [Restore.objects.latest("pk").pk],
        "backups/listedtable": [ListedTable.objects.latest("pk").pk],
    }
    with_rejects = Run.objects.filter(rejected__gt=0, status=Status.ARCHIVED).latest("pk").pk
    found["ingest/run"].insert(0, with_rejects)
    return found
