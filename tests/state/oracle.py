"""The keyed store as it would be written if speed did not matter: a dict, copied at every commit."""

from __future__ import annotations

import math
from typing import Any

import pyarrow as pa

Row = tuple[Any, ...]


def normal(value: Any) -> Any:
    """A hashable form in which values that group together are equal, and others are not.

    Every value carries its kind, since Python takes 1, 1.0 and True for the same.
    """
    match value:
        case float():
            return ("float", "nan" if math.isnan(value) else value + 0.0)
        case list():
            return ("list", tuple(normal(item) for item in value))
        case tuple():
            return ("pair", tuple(normal(item) for item in value))
        case dict():
            return ("struct", tuple((name, normal(item)) for name, item in sorted(value.items())))
        case _:
            return (type(value).__name__, value)


def normal_of(data_type: pa.DataType, value: Any) -> Any:
    """As `normal`, and the entries of a map have no order."""
    if value is not None and pa.types.is_map(data_type):
        return ("map", frozenset((normal(key), normal(item)) for key, item in value))
    return normal(value)


def rows_of(table: pa.Table | pa.RecordBatch) -> list[Row]:
    if table.num_columns == 0:
        return [()] * table.num_rows
    return list(zip(*(column.to_pylist() for column in table.columns), strict=True))


class OracleStore:
    """Keys (normalised) to (key, value) rows. Slots do not exist: rows are spoken of by key."""

    def __init__(self, key_types: list[pa.DataType], expiry: Any = None) -> None:
        self.key_types = key_types
        self.expiry = expiry
        self.rows: dict[Any, tuple[Row, Row]] = {}
        self.versions: list[dict[Any, tuple[Row, Row]]] = [{}]

    def key(self, key: Row) -> Any:
        return tuple(normal_of(kind, item) for kind, item in zip(self.key_types, key, strict=True))

    def upsert(self, keys: list[Row], values: list[Row]) -> None:
        for key, value in zip(keys, values, strict=True):
            self.rows[self.key(key)] = (key, value)

    def remove(self, keys: list[Row]) -> None:
        for key in keys:
            del self.rows[self.key(key)]

    def get(self, key: Row) -> tuple[Row, Row] | None:
        return self.rows.get(self.key(key))

    def expired(self, threshold: int) -> set[Any]:
        found = set()
        for normal_key, (key, value) in self.rows.items():
            expiry = self.expiry(key, value)
            if expiry is not None and expiry <= threshold:
                found.add(normal_key)
        return found

    def commit(self) -> None:
        self.versions.append(dict(self.rows))

    def rollback(self) -> None:
        self.rows = dict(self.versions[-1])

    def load(self, version: int) -> None:
        del self.versions[version + 1 :]
        self.rows = dict(self.versions[version])
