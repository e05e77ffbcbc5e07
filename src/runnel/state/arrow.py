"""Arrow arrays seen as numpy arrays, and the normal form of keys."""

from __future__ import annotations

import struct
from typing import Any, TypeVar

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from runnel.state.hashing import U64

FIXED_WORDS: dict[pa.DataType, type[np.generic]] = {
    pa.bool_(): np.bool_,
    pa.int8(): np.int8,
    pa.int16(): np.int16,
    pa.int32(): np.int32,
    pa.int64(): np.int64,
    pa.uint8(): np.uint8,
    pa.uint16(): np.uint16,
    pa.uint32(): np.uint32,
    pa.uint64(): np.uint64,
    pa.float16(): np.float16,
    pa.float32(): np.float32,
    pa.float64(): np.float64,
}
"""Types whose cells are numpy scalars. Temporal types are integers of their width, decimals pairs of words."""

_Word = TypeVar("_Word", np.int64, np.uint64)
_WORD_OF_WIDTH = {8: np.uint8, 16: np.uint16, 32: np.uint32, 64: np.uint64}


def is_bytes(data_type: pa.DataType) -> bool:
    """Strings and binary, whatever the width of their offsets."""
    return (
        pa.types.is_string(data_type)
        or pa.types.is_large_string(data_type)
        or pa.types.is_binary(data_type)
        or pa.types.is_large_binary(data_type)
        or data_type in (pa.string_view(), pa.binary_view())
    )


def one_array(column: pa.ChunkedArray | pa.Array, data_type: pa.DataType) -> pa.Array:
    """A column as one array of the given type; no copy where it is one already. Raises ArrowInvalid."""
    if isinstance(column, pa.ChunkedArray):
        if column.num_chunks == 1:
            column = column.chunk(0)
        elif column.num_chunks == 0:
            return pa.nulls(0, data_type)
        else:
            column = pa.concat_arrays(column.chunks)
    return column if column.type == data_type else column.cast(data_type)


def unpack_bits(buffer: pa.Buffer, offset: int, length: int) -> NDArray[np.bool_]:
    """Arrow's packed bits as one boolean each."""
    first = offset // 8
    packed = np.frombuffer(buffer, dtype=np.uint8, offset=first, count=(offset + length + 7) // 8 - first)
    bits = np.unpackbits(packed, bitorder="little", count=offset - first * 8 + length)
    return bits[offset - first * 8 :].view(np.bool_)


def pack_bits(mask: NDArray[np.bool_]) -> pa.Buffer:
    return pa.py_buffer(np.packbits(mask, bitorder="little"))


def valid_mask(array: pa.Array) -> NDArray[np.bool_] | None:
    """True where the array is not null; None: everywhere."""
    if array.null_count == 0:
        return None
    if array.null_count == len(array):
        return np.zeros(len(array), dtype=np.bool_)
    return unpack_bits(array.buffers()[0], array.offset, len(array))


def fixed_to_numpy(array: pa.Array) -> NDArray[Any]:
    """The raw cells of a fixed-width array, without a copy (booleans are unpacked): shape (n,), or (n, 2) of 64-bit
    words for 128-bit types. Cells of nulls are undefined."""
    data_type, buffer = array.type, array.buffers()[1]
    wide = data_type.bit_width == 128
    dtype = np.dtype(np.uint64) if wide else np.dtype(FIXED_WORDS.get(data_type, f"i{data_type.bit_width // 8}"))
    if buffer is None or len(array) == 0:
        return np.zeros((len(array), 2) if wide else len(array), dtype=dtype)
    if dtype == np.bool_:
        return unpack_bits(buffer, array.offset, len(array))
    width = data_type.bit_width // 8
    words = np.frombuffer(buffer, dtype=dtype, offset=array.offset * width, count=len(array) * width // dtype.itemsize)
    return words.reshape(-1, 2) if wide else words


def fixed_from_numpy(data_type: pa.DataType, cells: NDArray[Any], valid: NDArray[np.bool_] | None) -> pa.Array:
    """The opposite of `fixed_to_numpy`; takes over `cells` without a copy."""
    validity = None if valid is None else pack_bits(valid)
    data = pack_bits(cells) if cells.dtype == np.bool_ else pa.py_buffer(cells)
    return pa.Array.from_buffers(data_type, len(cells), [validity, data])


def fixed_words(cells: NDArray[Any]) -> list[U64]:
    """Cells widened to 64-bit words, one array a word; equal cells have equal words and the reverse."""
    if cells.ndim == 2:
        return [cells[:, 0], cells[:, 1]]
    return [cells.view(_WORD_OF_WIDTH[cells.itemsize * 8]).astype(np.uint64, copy=False)]


def ascending(values: NDArray[_Word]) -> NDArray[_Word]:
    """The distinct values in order; by sorting, which is several times as fast as numpy's `unique` on many values."""
    if len(values) < 2:
        return values
    ordered = np.sort(values)
    is_first = np.ones(len(ordered), np.bool_)
    np.not_equal(ordered[1:], ordered[:-1], out=is_first[1:])
    distinct: NDArray[_Word] = ordered[is_first]
    return distinct


def bytes_parts(array: pa.Array) -> tuple[NDArray[np.int64], NDArray[np.uint8]]:
    """Offsets (n + 1, not from 0 for a slice) and bytes of a string or binary array."""
    if array.type in (pa.string_view(), pa.binary_view()):
        array = array.cast(pa.large_binary())
    _, offset_buffer, data_buffer = array.buffers()
    if offset_buffer is None or len(array) == 0:
        return np.zeros(len(array) + 1, dtype=np.int64), np.empty(0, dtype=np.uint8)
    large = pa.types.is_large_string(array.type) or pa.types.is_large_binary(array.type)
    dtype = np.dtype(np.int64 if large else np.int32)
    offsets = np.frombuffer(offset_buffer, dtype=dtype, offset=array.offset * dtype.itemsize, count=len(array) + 1)
    data = np.empty(0, dtype=np.uint8) if data_buffer is None else np.frombuffer(data_buffer, dtype=np.uint8)
    return offsets.astype(np.int64, copy=False), data


def has_floats(data_type: pa.DataType) -> bool:
    """Whether a floating-point number can occur anywhere in a value of the type."""
    if pa.types.is_floating(data_type):
        return True
    return any(has_floats(data_type.field(i).type) for i in range(data_type.num_fields))


def normalise_floats(array: pa.Array) -> pa.Array:
    """-0.0 becomes 0.0 and every NaN the same NaN, at any depth. The same array, if there is nothing to do.

    Spark normalises floating-point keys so before it groups, joins or compares by them.
    """
    if pa.types.is_floating(array.type):
        cells = fixed_to_numpy(array)
        if not ((cells == 0) & np.signbit(cells) | np.isnan(cells)).any():
            return array
        normal = cells + cells.dtype.type(0)
        normal[np.isnan(normal)] = np.nan
        return fixed_from_numpy(array.type, normal, valid_mask(array))
    return pa.array([_normal_value(value) for value in array.to_pylist()], array.type)


def _normal_value(value: Any) -> Any:
    match value:
        case float():
            return float("nan") if value != value else value + 0.0
        case list():
            return [_normal_value(item) for item in value]
        case tuple():
            return tuple(_normal_value(item) for item in value)
        case dict():
            return {name: _normal_value(item) for name, item in value.items()}
        case _:
            return value


def canonical_bytes(array: pa.Array) -> pa.Array:
    """Binary that is equal for equal values of one type, and different for different ones. Null stays null.

    The entries of a map are put in order, since a map has none. Value by value in Python.
    """
    encoded = [None if item is None else _canonical(array.type, item) for item in array.to_pylist()]
    return pa.array(encoded, pa.large_binary())


def _canonical(data_type: pa.DataType, value: Any) -> bytes:
    if value is None:
        return b"\x00"
    if pa.types.is_map(data_type):
        pairs = [_canonical(data_type.key_type, k) + _canonical(data_type.item_type, v) for k, v in value]
        return _framed(b"".join(map(_framed, sorted(pairs))))
    if pa.types.is_struct(data_type):
        fields = (data_type.field(i) for i in range(data_type.num_fields))
        return _framed(b"".join(_canonical(field.type, value[field.name]) for field in fields))
    if pa.types.is_list(data_type) or pa.types.is_large_list(data_type) or pa.types.is_fixed_size_list(data_type):
        return _framed(b"".join(_canonical(data_type.value_type, item) for item in value))
    if pa.types.is_floating(data_type):
        return _framed(struct.pack("<d", float("nan") if value != value else value + 0.0))
    if isinstance(value, bytes):
        return _framed(value)
    if pa.types.is_timestamp(data_type):
        value = pa.scalar(value, data_type).value
    # A leaf of one type: its text tells its values apart
    return _framed(str(value).encode())


def _framed(encoded: bytes) -> bytes:
    return b"\x01" + len(encoded).to_bytes(8, "little") + encoded
