"""A hand-written model, as a dataset may name one by its dotted path."""

from datetime import date
from decimal import Decimal
from typing import Annotated, Self

from pydantic import BaseModel, Field, field_validator, model_validator


class Booking(BaseModel):
    """A stay, with a rule that needs two fields."""

    id: int
    guest: Annotated[str, Field(max_length=40)]
    arrives: date
    leaves: date
    price: Annotated[Decimal, Field(max_digits=8, decimal_places=2)]
    note: str | None = None

    @field_validator("guest")
    @classmethod
    def title(cls, value: str) -> str:
        """Write names with capitals."""
        return value.title()

    @model_validator(mode="after")
    def in_order(self) -> Self:
        """Nobody leaves before arriving."""
        if self.leaves < self.arrives:
            raise ValueError("leaves is before arrives")
        return self


class Ticket(BaseModel):
    """A model with a default, and a name of its own for a column."""

    id: int = Field(alias="ID")
    status: str = Field("new", max_length=20)
