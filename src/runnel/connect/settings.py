"""The client's questions about settings, and its changes of them."""

from __future__ import annotations

from collections.abc import Iterator

from pyspark.sql.connect.proto import base_pb2

from runnel.config import SessionConf, is_jvm_only
from runnel.connect.notices import unneeded_setting
from runnel.errors import NoSuchElementError

_CLIENT_DEFAULTS: dict[str, str] = {
    "spark.connect.session.planCompression.threshold": "-1",
    "spark.connect.session.planCompression.defaultAlgorithm": "NONE",
    "spark.sql.connect.serverStacktrace.enabled": "false",
    "spark.sql.pyspark.jvmStacktrace.enabled": "false",
    "spark.sql.session.localRelationCacheThreshold": str(64 * 1024 * 1024),
    "spark.sql.session.localRelationSizeLimit": str(3 * 1024**3),
    "spark.sql.session.localRelationChunkSizeRows": "10000",
    "spark.sql.session.localRelationChunkSizeBytes": str(16 * 1024 * 1024),
    "spark.sql.session.localRelationBatchOfChunksSizeBytes": str(1024**3),
    "spark.sql.execution.pandas.convertToArrowArraySafely": "false",
    "spark.sql.execution.pandas.inferPandasDictAsMap": "false",
    "spark.sql.execution.pandas.structHandlingMode": "legacy",
    "spark.sql.execution.arrow.pyspark.selfDestruct.enabled": "false",
    "spark.sql.execution.arrow.useLargeVarTypes": "false",
    "spark.sql.execution.arrow.pyspark.validateSchema.enabled": "true",
    "spark.sql.execution.pythonUDF.pandas.intToDecimalCoercionEnabled": "false",
    "spark.sql.pyspark.legacy.inferArrayTypeFromFirstElement.enabled": "false",
    "spark.sql.pyspark.legacy.inferMapTypeFromFirstPair.enabled": "false",
    "spark.sql.pyspark.plotting.max_rows": "1000",
    "spark.sql.pyspark.toJSON.returnDataFrame": "false",
    "spark.sql.pyspark.worker.logging.enabled": "false",
    "spark.python.sql.dataFrameDebugging.enabled": "true",
}
"""Settings that the client asks for and that mean nothing to the engine."""


def setting(conf: SessionConf, key: str) -> str | None:
    """A setting's value: set, default, or what the client needs to hear; None if there is none."""
    value = conf.get_option(key)
    return _CLIENT_DEFAULTS.get(key) if value is None else value


def configure(conf: SessionConf, operation: base_pb2.ConfigRequest.Operation) -> base_pb2.ConfigResponse:
    """Answers one request about settings."""
    response = base_pb2.ConfigResponse()
    for key, value in _pairs(conf, operation):
        pair = response.pairs.add(key=key)
        if value is not None:
            pair.value = value
    return response


def _pairs(conf: SessionConf, operation: base_pb2.ConfigRequest.Operation) -> Iterator[tuple[str, str | None]]:
    match operation.WhichOneof("op_type"):
        case "set":
            for pair in operation.set.pairs:
                apply(conf, pair.key, pair.value, silent=operation.set.silent)
                yield pair.key, pair.value
        case "get":
            for key in operation.get.keys:
                value = setting(conf, key)
                if value is None:
                    raise NoSuchElementError("SQL_CONF_NOT_FOUND", sqlConf=f'"{key}"')
                yield key, value
        case "get_with_default":
            for pair in operation.get_with_default.pairs:
                default = pair.value if pair.HasField("value") else None
                value = conf.all().get(pair.key)
                yield pair.key, value if value is not None else default
        case "get_option":
            for key in operation.get_option.keys:
                yield key, setting(conf, key)
        case "get_all":
            prefix = operation.get_all.prefix
            for key, value in sorted(conf.all().items()):
                if key.startswith(prefix):
                    yield key.removeprefix(prefix), value
        case "unset":
            for key in operation.unset.keys:
                conf.unset(key)
                yield key, None
        case "is_modifiable":
            for key in operation.is_modifiable.keys:
                yield key, "true" if conf.is_modifiable(key) else "false"


def apply(conf: SessionConf, key: str, value: str, *, silent: bool = False) -> None:
    """Sets a run-time setting; `silent` leaves out those that are fixed, as `getOrCreate` on a running session does."""
    if is_jvm_only(key):
        unneeded_setting(key)
    if silent and not conf.may_set(key):
        return
    conf.set(key, value)
