"""Hash functions: Spark's murmur3 (`hash`) and xxHash64 (`xxhash64`) bit for bit, and the digests.

`murmur3` and `xxhash64` are vectorised over Arrow arrays and are public: state partitioning uses Spark's hash too. In a plan
they are calls of an Arrow function (`PythonUDF` of evaluation type SQL_SCALAR_ARROW_UDF) that knows its Spark types, so that
the execution layer needs nothing special for them.

Rules (Spark's HashExpression): columns are folded left to right, the running hash being the next seed; null leaves it
unchanged; boolean, byte, short, int, date and year-month interval hash as int; long, timestamps, day-time interval as long;
float and double by their bits with -0.0 as 0.0 and one NaN; decimals of up to 18 digits as unscaled long, larger ones as
big-endian bytes of the unscaled number; arrays and structs fold their elements. Maps are refused.
"""

from __future__ import annotations

import functools
import hashlib
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from pyspark.sql.types import (
    ArrayType,
    BinaryType,
    BooleanType,
    CalendarIntervalType,
    DataType,
    DateType,
    DecimalType,
    DoubleType,
    FloatType,
    MapType,
    StructType,
    TimeType,
    YearMonthIntervalType,
)

from runnel.errors import AnalysisError
from runnel.functions.registry import BindContext, CatalogueEntry, ScalarFunction
from runnel.functions.typing import (
    ANY,
    BINARY,
    INT,
    LONG,
    STRING,
    call_text,
    check_arity,
    coerce,
    coerce_arguments,
    is_integral,
    is_null,
    is_string,
    simple,
    unexpected_input,
)
from runnel.plan.expressions import Expression, PythonFunction, PythonUDF, dtype_of, nullable_of

SQL_SCALAR_ARROW_UDF: Final = 250
SEED: Final = 42

Args = tuple[Expression, ...]
U32 = npt.NDArray[np.uint32]
U64 = npt.NDArray[np.uint64]
Hashes = npt.NDArray[Any]


@dataclass(frozen=True, slots=True)
class _Algorithm:
    """The three primitive hashes over whole columns, (values, running hashes) -> hashes."""

    unsigned: type[np.unsignedinteger[Any]]
    ints: Callable[[U32, Hashes], Hashes]
    longs: Callable[[U64, Hashes], Hashes]
    texts: Callable[[npt.NDArray[np.uint8], npt.NDArray[np.int64], npt.NDArray[np.int64], Hashes], Hashes]


# --------------------------------------------------------------------------------------------------------- murmur3


def _rotate32(x: U32, bits: int) -> U32:
    return (x << np.uint32(bits)) | (x >> np.uint32(32 - bits))


def _mix(h: U32, k: U32) -> U32:
    k = _rotate32(k * np.uint32(0xCC9E2D51), 15) * np.uint32(0x1B873593)
    return _rotate32(h ^ k, 13) * np.uint32(5) + np.uint32(0xE6546B64)


def _finish32(h: U32, length: Any) -> U32:
    h = h ^ np.asarray(length).astype(np.uint32)
    h = (h ^ (h >> np.uint32(16))) * np.uint32(0x85EBCA6B)
    h = (h ^ (h >> np.uint32(13))) * np.uint32(0xC2B2AE35)
    return h ^ (h >> np.uint32(16))


def _murmur_ints(values: U32, seeds: Hashes) -> Hashes:
    return _finish32(_mix(seeds, values), 4)


def _murmur_longs(values: U64, seeds: Hashes) -> Hashes:
    low, high = values.astype(np.uint32), (values >> np.uint64(32)).astype(np.uint32)
    return _finish32(_mix(_mix(seeds, low), high), 8)


def _words(data: npt.NDArray[np.uint8], starts: npt.NDArray[np.int64], width: int) -> npt.NDArray[Any]:
    """Little-endian words of `width` bytes at the given positions."""
    picked = np.ascontiguousarray(data[starts[:, None] + np.arange(width)])
    return picked.view(f"<u{width}").ravel()


def _murmur_texts(
    data: npt.NDArray[np.uint8], starts: npt.NDArray[np.int64], lengths: npt.NDArray[np.int64], seeds: Hashes
) -> Hashes:
    h = seeds.copy()
    whole = lengths // 4
    for i in range(int(whole.max(initial=0))):
        rows = np.nonzero(whole > i)[0]
        h[rows] = _mix(h[rows], _words(data, starts[rows] + 4 * i, 4))
    for i in range(3):
        rows = np.nonzero(lengths % 4 > i)[0]
        tail = data[starts[rows] + whole[rows] * 4 + i].view(np.int8).astype(np.int32).view(np.uint32)
        h[rows] = _mix(h[rows], tail)
    return _finish32(h, lengths)


# --------------------------------------------------------------------------------------------------------- xxHash64

_P1, _P2, _P3, _P4, _P5 = (
    np.uint64(p)
    for p in (0x9E3779B185EBCA87, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9, 0x85EBCA77C2B2AE63, 0x27D4EB2F165667C5)
)


def _rotate64(x: U64, bits: int) -> U64:
    return (x << np.uint64(bits)) | (x >> np.uint64(64 - bits))


def _finish64(h: U64) -> U64:
    h = (h ^ (h >> np.uint64(33))) * _P2
    h = (h ^ (h >> np.uint64(29))) * _P3
    return h ^ (h >> np.uint64(32))


def _step8(h: U64, word: U64) -> U64:
    return _rotate64(h ^ (_rotate64(word * _P2, 31) * _P1), 27) * _P1 + _P4


def _step4(h: U64, word: npt.NDArray[Any]) -> U64:
    return _rotate64(h ^ (word.astype(np.uint64) * _P1), 23) * _P2 + _P3


def _xx_ints(values: U32, seeds: Hashes) -> Hashes:
    return _finish64(_step4(seeds + _P5 + np.uint64(4), values))


def _xx_longs(values: U64, seeds: Hashes) -> Hashes:
    return _finish64(_step8(seeds + _P5 + np.uint64(8), values))


def _xx_texts(
    data: npt.NDArray[np.uint8], starts: npt.NDArray[np.int64], lengths: npt.NDArray[np.int64], seeds: Hashes
) -> Hashes:
    h = seeds + _P5
    position = np.zeros(len(starts), dtype=np.int64)
    long = np.nonzero(lengths >= 32)[0]
    if len(long):
        lanes = [seeds[long] + _P1 + _P2, seeds[long] + _P2, seeds[long].copy(), seeds[long] - _P1]
        stripes = lengths[long] // 32
        for i in range(int(stripes.max())):
            rows = np.nonzero(stripes > i)[0]
            for lane in range(4):
                word = _words(data, starts[long[rows]] + 32 * i + 8 * lane, 8)
                lanes[lane][rows] = _rotate64(lanes[lane][rows] + word * _P2, 31) * _P1
        merged = sum((_rotate64(v, b) for v, b in zip(lanes[1:], (7, 12, 18), strict=True)), _rotate64(lanes[0], 1))
        for v in lanes:
            merged = (merged ^ (_rotate64(v * _P2, 31) * _P1)) * _P1 + _P4
        h[long] = merged
        position[long] = stripes * 32
    h = h + lengths.astype(np.uint64)
    for width, step in ((8, _step8), (4, _step4)):
        while len(rows := np.nonzero(position + width <= lengths)[0]):
            h[rows] = step(h[rows], _words(data, starts[rows] + position[rows], width))
            position[rows] += width
    while len(rows := np.nonzero(position < lengths)[0]):
        byte = data[starts[rows] + position[rows]].astype(np.uint64)
        h[rows] = _rotate64(h[rows] ^ (byte * _P5), 11) * _P1
        position[rows] += 1
    return _finish64(h)


_MURMUR3: Final = _Algorithm(np.uint32, _murmur_ints, _murmur_longs, _murmur_texts)
_XXHASH64: Final = _Algorithm(np.uint64, _xx_ints, _xx_longs, _xx_texts)


# ------------------------------------------------------------------------------------------------------- by columns


def murmur3(columns: Sequence[pa.Array], types: Sequence[DataType], seed: int = SEED) -> npt.NDArray[np.int32]:
    """Spark's `hash` of rows: int32, one a row; `types` are the columns' Spark types. At least one column."""
    return _fold(_MURMUR3, columns, types, seed & 0xFFFFFFFF).view(np.int32)


def xxhash64(columns: Sequence[pa.Array], types: Sequence[DataType], seed: int = SEED) -> npt.NDArray[np.int64]:
    """Spark's `xxhash64` of rows: int64, one a row; `types` are the columns' Spark types. At least one column."""
    return _fold(_XXHASH64, columns, types, seed).view(np.int64)


def _fold(algorithm: _Algorithm, columns: Sequence[pa.Array], types: Sequence[DataType], seed: int) -> Hashes:
    hashes: Hashes = np.full(len(columns[0]), seed, dtype=algorithm.unsigned)
    with np.errstate(over="ignore"):
        for column, dtype in zip(columns, types, strict=True):
            hashes = _update(algorithm, _flat(column), dtype, hashes)
    return hashes


def _flat(column: pa.Array) -> pa.Array:
    return column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column


def _update(algorithm: _Algorithm, column: pa.Array, dtype: DataType, hashes: Hashes) -> Hashes:
    """The running hashes with one more column folded in."""
    if is_null(dtype) or column.null_count == len(column):
        return hashes
    rows = np.nonzero(column.is_valid().to_numpy(zero_copy_only=False))[0]
    values = column if len(rows) == len(column) else column.take(pa.array(rows))
    result = hashes.copy()
    result[rows] = _present(algorithm, values, dtype, hashes[rows])
    return result


def _present(algorithm: _Algorithm, values: pa.Array, dtype: DataType, seeds: Hashes) -> Hashes:
    match dtype:
        case ArrayType(elementType=element):
            return _arrays(algorithm, values, element, seeds)
        case StructType():
            for i, f in enumerate(dtype.fields):
                seeds = _update(algorithm, values.field(i), f.dataType, seeds)
            return seeds
        case FloatType() | DoubleType():
            floats = np.asarray(values.to_numpy(zero_copy_only=False)) + 0.0  # -0.0 + 0.0 is 0.0
            floats[np.isnan(floats)] = np.nan
            if isinstance(dtype, FloatType):
                return algorithm.ints(floats.astype(np.float32).view(np.uint32), seeds)
            return algorithm.longs(floats.view(np.uint64), seeds)
        case DecimalType(precision=precision, scale=scale):
            return _decimals(algorithm, values, precision, scale, seeds)
        case CalendarIntervalType():
            return _calendar(algorithm, values, seeds)
        case BooleanType():
            return algorithm.ints(values.cast(pa.int32()).to_numpy(zero_copy_only=False).view(np.uint32), seeds)
        case DateType() | YearMonthIntervalType():
            return algorithm.ints(values.cast(pa.int32()).to_numpy(zero_copy_only=False).view(np.uint32), seeds)
        case TimeType():
            nanos = values.cast(pa.time64("us")).cast(pa.int64()).to_numpy(zero_copy_only=False) * 1000
            return algorithm.longs(nanos.view(np.uint64), seeds)
        case _ if is_string(dtype) or isinstance(dtype, BinaryType):
            return algorithm.texts(*_bytes(values.cast(pa.large_binary())), seeds)
        case _ if is_integral(dtype) and dtype != LONG:
            return algorithm.ints(values.cast(pa.int32()).to_numpy(zero_copy_only=False).view(np.uint32), seeds)
        case _:
            return algorithm.longs(values.cast(pa.int64()).to_numpy(zero_copy_only=False).view(np.uint64), seeds)


def _bytes(values: pa.Array) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """All bytes, and each value's start and length."""
    _, offsets_buffer, data = values.buffers()
    offsets = np.frombuffer(offsets_buffer, dtype=np.int64)[values.offset : values.offset + len(values) + 1]
    content = np.frombuffer(data, dtype=np.uint8) if data is not None else np.zeros(0, dtype=np.uint8)
    return content, offsets[:-1], np.diff(offsets)


def _arrays(algorithm: _Algorithm, values: pa.Array, element: DataType, seeds: Hashes) -> Hashes:
    """Element by element: the i-th elements of all arrays that have one are hashed together."""
    lengths = pc.list_value_length(values).to_numpy(zero_copy_only=False).astype(np.int64)
    children = values.flatten()
    starts = np.cumsum(lengths) - lengths
    result = seeds.copy()
    for i in range(int(lengths.max(initial=0))):
        rows = np.nonzero(lengths > i)[0]
        result[rows] = _update(algorithm, children.take(pa.array(starts[rows] + i)), element, result[rows])
    return result


def _decimals(algorithm: _Algorithm, values: pa.Array, precision: int, scale: int, seeds: Hashes) -> Hashes:
    raw = np.frombuffer(values.cast(pa.decimal128(precision, scale)).buffers()[1], dtype=np.uint8)
    width = values.cast(pa.decimal128(precision, scale)).offset * 16
    numbers = raw[width : width + len(values) * 16].reshape(-1, 16)
    if precision <= 18:
        return algorithm.longs(numbers[:, :8].copy().view(np.uint64).ravel(), seeds)
    big_endian = numbers[:, ::-1]
    # BigInteger.toByteArray is the shortest two's complement form: leading bytes that only repeat the sign are dropped.
    sign = np.where(big_endian[:, :1] & 0x80, 0xFF, 0x00).astype(np.uint8)
    redundant = (big_endian[:, :-1] == sign) & ((big_endian[:, 1:] & 0x80) == (sign & 0x80))
    skipped = np.cumprod(redundant, axis=1).sum(axis=1).astype(np.int64)
    starts = np.arange(len(values), dtype=np.int64) * 16 + skipped
    return algorithm.texts(np.ascontiguousarray(big_endian).ravel(), starts, 16 - skipped, seeds)


def _calendar(algorithm: _Algorithm, values: pa.Array, seeds: Hashes) -> Hashes:
    raw = np.frombuffer(values.buffers()[1], dtype=[("months", "<u4"), ("days", "<u4"), ("nanos", "<i8")])
    parts = raw[values.offset : values.offset + len(values)]
    micros = (parts["nanos"] // 1000).view(np.uint64)
    seeds = algorithm.longs(micros, seeds)
    return algorithm.ints(parts["months"].copy(), algorithm.ints(parts["days"].copy(), seeds))


# ----------------------------------------------------------------------------------------------------- the entries


def _holds_map(t: DataType) -> bool:
    match t:
        case MapType():
            return True
        case ArrayType(elementType=element):
            return _holds_map(element)
        case StructType():
            return any(_holds_map(f.dataType) for f in t.fields)
        case _:
            return False


def _murmur3_function(types: tuple[DataType, ...], *columns: pa.Array) -> pa.Array:
    return pa.array(murmur3(columns, types))


def _xxhash64_function(types: tuple[DataType, ...], *columns: pa.Array) -> pa.Array:
    return pa.array(xxhash64(columns, types))


def _bind_hash(
    name: str, function: Callable[..., pa.Array], result: DataType
) -> Callable[[BindContext, Args], Expression]:
    def bind(context: BindContext, args: Args) -> Expression:
        check_arity(name, args, 1, -1)
        types = tuple(dtype_of(a) for a in args)
        if any(_holds_map(t) for t in types):
            raise AnalysisError(
                "DATATYPE_MISMATCH.HASH_MAP_TYPE", {"sqlExpr": call_text(name, args), "functionName": f"`{name}`"}
            )
        call = PythonFunction(name, functools.partial(function, types), SQL_SCALAR_ARROW_UDF)
        return PythonUDF(call, args, result, False)

    return bind


_DIGESTS: Final = {
    224: hashlib.sha224,
    256: hashlib.sha256,
    0: hashlib.sha256,
    384: hashlib.sha384,
    512: hashlib.sha512,
}


def _sha2_function(values: pa.Array, bits: pa.Array) -> pa.Array:
    digests = (
        None if v is None or n not in _DIGESTS else _DIGESTS[n](v).hexdigest()
        for v, n in zip(_flat(values).to_pylist(), _flat(bits).to_pylist(), strict=True)
    )
    return pa.array(digests, pa.string())


def _crc32_function(values: pa.Array) -> pa.Array:
    return pa.array((None if v is None else zlib.crc32(v) for v in _flat(values).to_pylist()), pa.int64())


def _bind_sha2(context: BindContext, args: Args) -> Expression:
    check_arity("sha2", args, 2)
    coerced = (_as_binary("sha2", args, context), coerce_arguments("sha2", args, (ANY, INT), context)[1])
    return PythonUDF(PythonFunction("sha2", _sha2_function, SQL_SCALAR_ARROW_UDF), coerced, STRING, True)


def _as_binary(name: str, args: Args, context: BindContext) -> Expression:
    if is_string(dtype_of(args[0])) or is_null(dtype_of(args[0])):
        return coerce(args[0], BINARY, context)
    if not isinstance(dtype_of(args[0]), BinaryType):
        raise unexpected_input(name, args, 0, '"BINARY"')
    return args[0]


def _bind_crc32(context: BindContext, args: Args) -> Expression:
    check_arity("crc32", args, 1)
    value = _as_binary("crc32", args, context)
    return PythonUDF(PythonFunction("crc32", _crc32_function, SQL_SCALAR_ARROW_UDF), (value,), LONG, nullable_of(value))


FUNCTIONS: Final[tuple[CatalogueEntry, ...]] = (
    ScalarFunction("hash", _bind_hash("hash", _murmur3_function, INT)),
    ScalarFunction("xxhash64", _bind_hash("xxhash64", _xxhash64_function, LONG)),
    simple("md5", (BINARY,), STRING, "md5({0})"),
    simple("sha1", (BINARY,), STRING, "sha1({0})", aliases=("sha",)),
    ScalarFunction("sha2", _bind_sha2),
    ScalarFunction("crc32", _bind_crc32),
)
