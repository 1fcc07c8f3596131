"""What every section of a manifest has in common."""

from __future__ import annotations

from types import NoneType
from typing import Annotated, Any, get_args

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

Text = Annotated[str, StringConstraints(min_length=1)]
PerMinute = Annotated[int, Field(gt=0)]


class Model(BaseModel):
    """Closed, immutable, without coercion: `"3"` is not a number and an unknown key is an error.

    `null` is "not set" everywhere: a section whose keys are all commented out keeps its defaults.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, defer_build=True)

    @model_validator(mode="before")
    @classmethod
    def _without_nulls(cls, value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        return {key: entry for key, entry in value.items() if entry is not None or cls._keeps_null(key)}

    @classmethod
    def _keeps_null(cls, key: str) -> bool:
        field = cls.model_fields.get(key)
        return field is None or NoneType in get_args(field.annotation)
