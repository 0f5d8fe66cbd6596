"""The baseline of benchmarks.api: a plain FastAPI endpoint that validates rows one by one with the same model."""

from typing import Any

from fastapi import FastAPI
from pydantic import BaseModel, ValidationError

from ingest.schema import compile_schema

from .files import PEOPLE

app = FastAPI()
MODEL = compile_schema(PEOPLE).model


class Rows(BaseModel):
    """The same envelope."""

    dataset: str
    rows: list[dict[str, Any]]


@app.post("/validate")
def validate(body: Rows) -> dict[str, Any]:
    """Validate row by row."""
    valid, rejected = list[Any](), list[Any]()
    for number, row in enumerate(body.rows):
        try:
            valid.append(MODEL.model_validate(row).model_dump(by_alias=True))
        except ValidationError as error:
            rejected.append({"row": number, "errors": [{"loc": e["loc"], "msg": e["msg"]} for e in error.errors()]})
    return {"dataset": body.dataset, "received": len(body.rows), "valid": valid, "rejected": rejected}
