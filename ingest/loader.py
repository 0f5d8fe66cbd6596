"""Batches into the database: data, ledger and rejects in one transaction, each batch exactly once."""

import logging
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import orjson
import tenacity
from django.conf import settings
from django.db import DatabaseError, IntegrityError, InterfaceError, OperationalError, connection, transaction
from django.db.models import F, Sum

from migration_console.lib.engine import engine
from migration_console.lib.errors import Broken, Fenced, Unavailable
from migration_console.lib.lake import Version
from migration_console.lib.mysql import RowsRefused

from .batches import Prepared, ahead, prepare
from .destination import Destination
from .errors import group_errors
from .isolation import Isolation, Outcome
from .models import MAX_REJECTS, Batch, Part, Run, Status
from .rejects import insert_rejects
from .schema import Schema
from .survey import Survey

log = logging.getLogger(__name__)
Progress = Callable[[int], None]


class Cancelled(Exception):
    """Somebody asked for the run to stop; its batches stay."""


class LimitPassed(Exception):
    """The file has more rejects than the dataset's onError allows."""


class Loader:
    """Loads parts of one run into one destination."""

    def __init__(self, run: Run, schema: Schema, found: Survey, to: Destination, progress: Progress) -> None:
        self.run, self.schema, self.found, self.to, self.progress = run, schema, found, to, progress
        # The straight road: insert, and look closer only where the server did not take all.
        # After one refusal the next batch likely has another, so it starts with the close look.
        self.straight = not to.upsert and to.known == (to.table,)
        self.suspicious = False
        self.most_rejects = limit_of(schema, found)
        self.rejected = 0

    def load(self, part: Part, version: Version) -> None:
        """Load what is left of a part whose lease we hold; Fenced where another worker has taken over."""
        batches = prepare(
            version,
            self.found,
            self.schema,
            start=part.next_byte,
            end=part.end,
            row=part.next_row,
            line=part.next_line,
        )
        try:
            with part.holding() as heartbeat:
                for batch in ahead(batches):
                    if heartbeat.lost.is_set():
                        raise Fenced(str(part))
                    self.load_batch(part, batch)
                    self.progress(batch.rows)
                    if self.most_rejects is not None and self.rejected > self.most_rejects:
                        raise LimitPassed
        except Fenced:
            connection.close()  # whoever was silent for so long has lost its session too
            Part.objects.filter(pk=part.pk).update(fenced=F("fenced") + 1)
            log.warning("%s: another worker has taken over; this one stops", part)
            raise
        finally:
            engine(connection).end_session(connection)

    def load_batch(self, part: Part, batch: Prepared) -> None:
        """Load one batch of a part that we hold; a lost connection or a lock is tried again, whole, with back-off."""
        for attempt in patience():
            with attempt, transient_errors():
                if attempt.retry_state.attempt_number > 1 and self._is_in(part, batch):
                    return
                engine(connection).prepare_session(connection, settings.LEASE_SECONDS)
                self._load_once(part, batch)

    def _is_in(self, part: Part, batch: Prepared) -> bool:
        """Tell whether the batch was committed by the try whose answer was lost."""
        if not Batch.objects.filter(run=self.run, start=batch.start).exists():
            part.next_byte = batch.start
            return False
        fresh = Part.objects.get(pk=part.pk)
        if (fresh.epoch, fresh.owner, fresh.next_byte) != (part.epoch, part.owner, batch.end):
            raise Fenced(str(part))
        part.next_byte, part.next_row, part.next_line = fresh.next_byte, fresh.next_row, fresh.next_line
        return True

    def _load_once(self, part: Part, batch: Prepared) -> None:
        if self.straight and not self.suspicious:
            try:
                with transaction.atomic():
                    self._straight(part, batch)
                return
            except (RowsRefused, DatabaseError) as error:
                if engine(connection).is_transient(error):
                    raise
                log.info("%s: looking closer at the batch at %d: %s", part, batch.start, error)
        isolation = Isolation(connection, self.to, batch.frame)
        isolation.prepare()
        # One transaction for data, ledger and rejects: all of the batch is in, or nothing of it.
        with transaction.atomic():
            row = self._ledger(part, batch, Outcome())
            outcome = isolation.load()
            self.suspicious = bool(outcome.refusals)
            self._close(part, batch, outcome, row)

    def _straight(self, part: Part, batch: Prepared) -> None:
        outcome = Outcome(loaded=batch.frame.height)
        row = self._ledger(part, batch, outcome)
        frame = batch.frame.drop("_n")
        engine(connection).insert_rows(connection, self.to.table, frame, self.to.wraps, self.to.constants)
        self._close(part, batch, outcome, row)

    def _ledger(self, part: Part, batch: Prepared, outcome: Outcome) -> Batch:
        """Insert the batch's row; of two workers with the same batch, the second meets the unique key."""
        try:
            return Batch.objects.create(
                run=self.run,
                part=part,
                start=batch.start,
                end=batch.end,
                first_row=batch.first_row,
                first_line=batch.first_line,
                rows=batch.rows,
                loaded=outcome.loaded,
                rejected=0,
                skipped=0,
                digest=batch.digest,
            )
        except IntegrityError:
            raise Fenced(f"{part}: the batch at {batch.start} is in already") from None

    def _close(self, part: Part, batch: Prepared, outcome: Outcome, row: Batch) -> None:
        """Write rejects and counts, and move the part on: last, so that its lock is held for the shortest time."""
        reasons = dict(sorted({**batch.rejects, **outcome.refusals}.items()))
        if outcome.loaded + outcome.skipped + len(reasons) != batch.rows:
            raise Broken(f"{part}: the batch at {batch.start} does not add up: {outcome}, {batch.rows} rows")
        rejects = [batch.rejected(number, errors) for number, errors in reasons.items()]
        before = self._rejected_before(row) if rejects else 0
        kept, over = rejects[: max(MAX_REJECTS - before, 0)], rejects[max(MAX_REJECTS - before, 0) :]
        insert_rejects(self.run, row.pk, kept)
        row.loaded, row.skipped, row.rejected = outcome.loaded, outcome.skipped, len(rejects)
        row.errors = group_errors(error for reject in rejects for error in reject.errors)
        row.overflow = zlib.compress(b"\n".join(orjson.dumps(reject.as_dict()) for reject in over)) if over else None
        row.save(update_fields=["loaded", "skipped", "rejected", "errors", "overflow"])
        self.rejected = before + len(rejects) if rejects else self.rejected
        status, cancelled = Run.objects.values_list("status", "cancel_requested").get(pk=self.run.pk)
        if status != Status.LOADING:
            raise Fenced(f"{self.run} is {status}: another worker has ended it, or a restore has taken it back")
        if cancelled:
            raise Cancelled
        self.to.fence()
        moved = part.advance(
            start=batch.start,
            byte=batch.end,
            row=batch.first_row + batch.rows,
            line=batch.first_line + batch.lines,
        )
        if not moved:
            raise Fenced(str(part))

    def _rejected_before(self, row: Batch) -> int:
        rows = Batch.objects.filter(run=self.run).exclude(pk=row.pk)
        return rows.aggregate(total=Sum("rejected"))["total"] or 0


def limit_of(schema: Schema, found: Survey) -> int | None:
    """Return how many rejects the file may have; None for no limit."""
    limit = schema.descriptor.on_error
    if limit is None:
        return None
    shares = [limit.rows, None if limit.percent is None else int(found.records * limit.percent / 100)]
    return min(share for share in shares if share is not None)


def patience() -> tenacity.Retrying:
    """Try again for about a minute; then the run waits, and the sweeper comes back to it.

    Counted in tries, not in time: a process that was stopped must still find out that it was fenced.
    """
    return tenacity.Retrying(
        retry=tenacity.retry_if_exception_type(Unavailable),
        wait=tenacity.wait_exponential_jitter(multiplier=0.2, max=10),
        stop=tenacity.stop_after_attempt(11),
        reraise=True,
    )


@contextmanager
def transient_errors() -> Iterator[None]:
    """Turn a database error that may pass into Unavailable, the connection closed."""
    try:
        yield
    except (OperationalError, InterfaceError) as error:
        if not (isinstance(error, InterfaceError) or engine(connection).is_transient(error)):
            raise
        log.warning("the database did not answer: %s", error)
        try:
            connection.close()
        except DatabaseError:
            connection.connection = None
        raise Unavailable(str(error)) from error
