"""Values from a file as the dataclass that they describe."""

import json
from collections.abc import Mapping
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from fer_data.errors import UserError

T = TypeVar("T")


def validated(kind: type[T], values: Mapping[str, Any] | str | bytes, where: str) -> T:
    """The `kind` that `values` describe: JSON, or what was read from JSON or TOML.

    Raises UserError, which names `where` and the field, for a field that is unknown, missing, of another type or
    refused by the dataclass itself.
    """
    text = values if isinstance(values, str | bytes) else json.dumps(values, default=str)
    try:
        return TypeAdapter(kind).validate_json(text)
    except ValidationError as error:
        first = error.errors()[0]
        # What a dataclass raises arrives as it is; pydantic's own message begins with "Value error".
        message = str(first["ctx"]["error"]) if first["type"] == "value_error" else first["msg"]
        raise UserError(": ".join([where, *filter(None, [".".join(map(str, first["loc"]))]), message])) from None
