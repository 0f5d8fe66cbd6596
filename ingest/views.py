"""The REST API of files, runs and rejects: each address checks the envelope, calls one service, and answers."""

from collections.abc import Iterable
from io import BytesIO
from typing import Any, BinaryIO, ClassVar

from django.conf import settings
from django.http import FileResponse, HttpResponseBase, StreamingHttpResponse
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema
from rest_framework.exceptions import NotFound
from rest_framework.request import Request
from rest_framework.response import Response

from migration_console.address import Address, Listed
from migration_console.api import (
    CsvParser,
    FileParser,
    Newest,
    Query,
    StrictJSONParser,
    kind_of,
    parse,
)
from migration_console.lib.errors import refuse
from migration_console.openapi import parameters

from . import arrivals, export
from .body import MAX_BATCH_BYTES, Body, is_csv
from .corrections import read_csv, resubmit
from .dataset_views import current_version, get_dataset
from .filters import RunFilter
from .models import Batch, Run
from .sending import MAX_ROWS, Place, load_sent
from .serializers import (
    BatchQuery,
    CorrectionsIn,
    FileIn,
    FileOut,
    FormatQuery,
    RetryIn,
    RowsAnswer,
    RowsIn,
    RunOut,
    UploadQuery,
    run_out,
)
from .services import cancel, retry


class ValidateTransform(Address):
    """Rows to be judged (JSON), or to be loaded into a run (CSV)."""

    permissions: ClassVar = {"POST": "ingest.add_run"}
    reads_query = frozenset({"POST"})
    parser_classes = [StrictJSONParser, CsvParser]
    throttle_scope = "rows"

    @extend_schema(
        summary="Judge rows, or load a batch of a run",
        description=(
            "JSON: 1 to 1000 rows are validated and transformed; nothing is loaded, and the query stays empty.\n\n"
            "CSV: whole lines of the run's file, with their place in the query, are loaded. The same batch again"
            " answers the same; 409 `taken-over` says that a worker goes on."
        ),
        parameters=parameters(BatchQuery, "CSV only: the batch's place"),
        request={"application/json": RowsIn, "text/csv": OpenApiTypes.STR},
        responses={200: RowsAnswer},
    )
    def post(self, request: Request) -> Response:
        """Judge, or load."""
        if is_csv(request):
            return Response(_load(request))
        from .checking import check_objects  # Polars, only where rows are judged

        body = parse(RowsIn, request.data)
        parse(Query, request.query_params.dict())
        version = current_version(body.dataset)
        valid, rejected = check_objects(body.rows, version.schema)
        return Response(
            {
                "dataset": body.dataset,
                "schema_version": version.number,
                "received": len(body.rows),
                "valid": valid,
                "rejected": [{"row": row, "errors": errors} for row, errors in rejected.items()],
            }
        )


def _load(request: Request) -> dict[str, Any]:
    query = parse(BatchQuery, request.query_params.dict())
    data = Body(request, MAX_BATCH_BYTES).whole()
    if query.end != query.start + len(data):
        raise refuse("end", f"the body has {len(data)} bytes; start and end say {query.end - query.start}", "end")
    run = get_run(query.run)
    place = Place(epoch=query.epoch, start=query.start, row=query.row, line=query.line)
    return batch_out(load_sent(run, place, data, last=query.last))


def batch_out(batch: Batch) -> dict[str, Any]:
    """Return a line of the ledger as the API shows it."""
    counts = {"loaded": batch.loaded, "rejected": batch.rejected, "skipped": batch.skipped}
    return {"run": batch.run_id, "start": batch.start, "end": batch.end, "read": batch.rows, **counts}


def get_run(pk: int) -> Run:
    """Return a run, or 404."""
    runs = Run.objects.select_related("dataset", "schema_version", "user")
    run = runs.filter(pk=pk).first() if pk < 2**63 else None
    if run is None:
        raise NotFound(f"There is no run {pk}.")
    return run


class Files(Address):
    """Files that have come, and files that are sent here."""

    permissions: ClassVar = {"POST": "ingest.add_run"}
    reads_query = frozenset({"POST"})
    parser_classes = [StrictJSONParser, FileParser]
    throttle_scope = "files"

    @extend_schema(
        summary="Announce an object of the lake, or send a file",
        description=(
            "JSON: an object under raw/ has come. It is admitted once, however often it is announced; with `rows` the"
            " answer may ask for its rows.\n\nCSV (or gzip): the body is the file, of the dataset in the query."
        ),
        parameters=parameters(UploadQuery, "CSV only"),
        request={"application/json": FileIn, "text/csv": OpenApiTypes.STR, "application/gzip": OpenApiTypes.BINARY},
        responses={200: FileOut, 201: FileOut},
    )
    def post(self, request: Request) -> Response:
        """Admit."""
        if is_csv(request):
            query = parse(UploadQuery, request.query_params.dict())
            dataset = get_dataset(query.dataset)
            name = query.name or f"{dataset.name}.csv{'.gz' if kind_of(request) == 'application/gzip' else ''}"
            body: Any = Body(request, settings.MAX_FILE_BYTES)
            run = arrivals.receive(body, name=name, dataset=dataset, reason=query.reason, user=request.user)
            return Response({"run": run.pk, "status": run.status, "send": "nothing", "key": run.key}, status=201)
        body = parse(FileIn, request.data)
        parse(Query, request.query_params.dict())
        answer = arrivals.announced(body.bucket, body.key, body.version, rows=body.rows, user=request.user)
        return Response(answer)


class Runs(Listed):
    """Runs, newest first."""

    permissions: ClassVar = {"GET": "ingest.view_run"}
    queryset = Run.objects.select_related("dataset", "schema_version", "user")
    filterset_class = RunFilter
    pagination_class = Newest

    @extend_schema(summary="Runs, newest first", responses={200: RunOut})
    def get(self, _request: Request) -> Response:
        """Return a page."""
        return self.answer(run_out)


class OneRun(Address):
    """A run."""

    permissions: ClassVar = {"GET": "ingest.view_run"}

    @extend_schema(summary="A run; poll it until `ended`", responses={200: RunOut})
    def get(self, _request: Request, pk: int) -> Response:
        """Return it."""
        return Response(run_out(get_run(pk)))


class RetryRun(Address):
    """A run that did not end well, taken up again."""

    permissions: ClassVar = {"POST": "ingest.change_run"}

    @extend_schema(summary="Take up a run that did not end well", request=RetryIn, responses={202: RunOut})
    def post(self, request: Request, pk: int) -> Response:
        """Take it up."""
        body = parse(RetryIn, request.data)
        run = get_run(pk)
        retry(run, user=request.user, reason=body.reason)
        return Response(run_out(get_run(pk)), status=202)


class CancelRun(Address):
    """A run, asked to stop."""

    permissions: ClassVar = {"POST": "ingest.change_run"}

    @extend_schema(summary="Stop a run at its next batch; what is loaded stays", request=None, responses={202: RunOut})
    def post(self, request: Request, pk: int) -> Response:
        """Ask it to stop; one that has ended stays as it is."""
        cancel(get_run(pk), user=request.user)
        return Response(run_out(get_run(pk)), status=202)


class Rejects(Address):
    """The rejected rows of a run, and better ones for them."""

    permissions: ClassVar = {"GET": "ingest.view_reject", "POST": "ingest.change_reject"}
    reads_query = frozenset({"GET"})
    parser_classes = [StrictJSONParser, CsvParser]

    @extend_schema(
        summary="The rejected rows, streamed",
        parameters=parameters(FormatQuery, "jsonl unless given, or by Accept"),
        responses={(200, kind): OpenApiTypes.BINARY for kind in export.FORMATS.values()},
    )
    def get(self, request: Request, pk: int) -> HttpResponseBase:
        """Stream them."""
        run, kind = get_run(pk), _format(request)
        name = f"run-{run.pk}-rejects.{kind}"
        if kind == "xlsx":
            return FileResponse(
                export.as_xlsx(run), filename=name, as_attachment=True, content_type=export.FORMATS[kind]
            )
        lines: Iterable[bytes] = export.as_csv(run) if kind == "csv" else export.as_json_lines(run)
        answer = StreamingHttpResponse(lines, content_type=export.FORMATS[kind])
        answer.headers["Content-Disposition"] = f'attachment; filename="{name}"'
        return answer

    @extend_schema(
        summary="Send corrected rows: they become a run of their own",
        description="JSON, or CSV with a column `_row`, as GET gives it. Columns that are left out stay as they came.",
        request={"application/json": CorrectionsIn, "text/csv": OpenApiTypes.STR},
        responses={201: RunOut},
    )
    def post(self, request: Request, pk: int) -> Response:
        """Make a child run of them."""
        run = get_run(pk)
        sheet = is_csv(request)
        if sheet:
            source: BinaryIO = BytesIO(Body(request, MAX_BATCH_BYTES).whole())
            corrections: Any = read_csv(source, MAX_ROWS)
        else:
            body = parse(CorrectionsIn, request.data)
            corrections = {correction.row: correction.values for correction in body.rows}
            if len(corrections) < len(body.rows):
                raise refuse("row", "a row is there twice", "rows")
        child = resubmit(run, corrections, user=request.user, sheet=sheet)
        return Response(run_out(get_run(child.pk)), status=201)


def _format(request: Request) -> str:
    wanted = parse(FormatQuery, request.query_params.dict()).format
    accept = request.headers.get("Accept", "")
    return wanted or next((name for name, kind in export.FORMATS.items() if kind in accept), "jsonl")
