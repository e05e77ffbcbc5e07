"""Spark's error conditions, as data: what is raised by default, its SQLSTATE, and a message that says what to do.

Names, SQLSTATEs and parameter names are Spark 4.2's; the words are ours. ``{name}`` marks a parameter. The members of a
family ``A.B`` share its SQLSTATE and its first sentence. Legacy conditions (``_LEGACY_ERROR_…``) have no SQLSTATE.
The last table holds the conditions that only Runnel has.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple


class Condition(NamedTuple):
    """``kind`` is a key of `runnel.errors.KINDS`; ``template`` a format string over the parameters."""

    kind: str
    sqlstate: str | None
    template: str


def _rows(kind: str, rows: Mapping[str, tuple[str | None, str]]) -> dict[str, Condition]:
    return {name: Condition(kind, sqlstate, template) for name, (sqlstate, template) in rows.items()}


def _family(kind: str, name: str, sqlstate: str, lead: str, members: Mapping[str, str]) -> dict[str, Condition]:
    return {f"{name}.{member}": Condition(kind, sqlstate, f"{lead} {text}".strip()) for member, text in members.items()}


_GENERAL = _rows(
    "spark",
    {
        "INTERNAL_ERROR": ("XX000", "{message} This is a bug in Runnel: please report it."),
        "CONCURRENT_QUERY": ("0A000", "Another start of this query is under way. Wait for it, or stop it first."),
        "UNABLE_TO_ACQUIRE_MEMORY": (
            "53200",
            "Out of memory: {requestedBytes} bytes were asked for and {receivedBytes} given. "
            "Take smaller batches, or give the process more.",
        ),
        "OPERATION_CANCELED": ("HY008", "The operation was cancelled."),
        "TASK_WRITE_FAILED": ("58030", "Writing to {path} failed. The cause says why."),
        "DATA_SOURCE_EXTERNAL_ERROR": ("KD010", "The external data source reported an error, which is the cause."),
    },
)

# ---------------------------------------------------------------------------------------------------------------------
# Analysis: names

_NAMES = {
    **_rows(
        "analysis",
        {
            "TABLE_OR_VIEW_NOT_FOUND": (
                "42P01",
                "There is no table or view {relationName}. Check its name, or create it first.",
            ),
            "TABLE_OR_VIEW_ALREADY_EXISTS": (
                "42P07",
                "A table or view {relationName} exists already. Choose another name, replace it, or drop it first.",
            ),
            "TEMP_TABLE_OR_VIEW_ALREADY_EXISTS": (
                "42P07",
                "A temporary view {relationName} exists already. Replace it (createOrReplaceTempView) or drop it first.",
            ),
            "SCHEMA_NOT_FOUND": ("42704", "There is no database {schemaName}. Check its name, or create it first."),
            "UNRESOLVED_ROUTINE": (
                "42883",
                "There is no function {routineName} (looked in {searchPath}). Check its name, or register it first.",
            ),
            "ROUTINE_NOT_FOUND": ("42883", "There is no function {routineName}."),
            "AMBIGUOUS_REFERENCE": (
                "42704",
                "{name} could be any of {referenceNames}. Put the name of the table or an alias in front of it.",
            ),
            "AMBIGUOUS_COLUMN_OR_FIELD": ("42702", "{name} names {n} columns or fields. Rename all but one."),
            "AMBIGUOUS_LATERAL_COLUMN_ALIAS": ("42702", "The alias {name} is defined {n} times. Rename all but one."),
            "AMBIGUOUS_REFERENCE_TO_FIELDS": (
                "42000",
                "The struct has {count} fields of the name {field}. Rename all but one.",
            ),
            "FIELD_NOT_FOUND": ("42704", "The struct has no field {fieldName}. It has {fields}."),
            "COLUMN_NOT_FOUND": (
                "42703",
                "There is no column {colName}. Whether case matters is set by {caseSensitiveConfig}.",
            ),
            "COLUMN_ALREADY_EXISTS": ("42711", "There are two columns {columnName}. Rename or drop one of them."),
            "UNRESOLVED_USING_COLUMN_FOR_JOIN": (
                "42703",
                "The {side} side of the join has no column {colName}. It has {suggestion}.",
            ),
            "UNRESOLVED_ALL_IN_GROUP_BY": ("42803", "GROUP BY ALL finds no key in this SELECT list. Name the keys."),
            "UNRESOLVED_VARIABLE": ("42883", "There is no variable {variableName} (looked in {searchPath})."),
            "CANNOT_RESOLVE_STAR_EXPAND": ("42704", "{targetString}.* names nothing. The columns are {columns}."),
            "UNBOUND_SQL_PARAMETER": ("42P02", "The parameter {name} has no value. Pass one in args of sql()."),
            "DUPLICATED_CTE_NAMES": ("42602", "WITH defines {duplicateNames} more than once. Rename all but one."),
            "INVALID_IDENTIFIER": ("42602", "{ident} is not an identifier as it stands. Put it into back-quotes."),
            "INVALID_ATTRIBUTE_NAME_SYNTAX": (
                "42601",
                "{name} is not a column name. Check the back-quotes and the dots.",
            ),
            "NON_PARTITION_COLUMN": ("42000", "{columnName} is not a partition column."),
            "PARTITIONS_NOT_FOUND": ("428FT", "{tableName} has no partition {partitionList}."),
        },
    ),
    **_family(
        "analysis",
        "UNRESOLVED_COLUMN",
        "42703",
        "There is no column, variable or parameter {objectName}.",
        {"WITHOUT_SUGGESTION": "Check its name.", "WITH_SUGGESTION": "Did you mean one of {proposal}?"},
    ),
    **_family(
        "analysis",
        "UNRESOLVED_FIELD",
        "42703",
        "The column {columnPath} has no field {fieldName}.",
        {"WITHOUT_SUGGESTION": "Check its name.", "WITH_SUGGESTION": "Did you mean one of {proposal}?"},
    ),
    **_family(
        "analysis",
        "UNRESOLVED_MAP_KEY",
        "42703",
        "{objectName} is no column and cannot be the key of a map. Quote it if it is text.",
        {"WITHOUT_SUGGESTION": "", "WITH_SUGGESTION": "Or did you mean one of {proposal}?"},
    ),
}

# ---------------------------------------------------------------------------------------------------------------------
# Analysis: types, arguments, aggregation

_TYPES = {
    **_rows(
        "analysis",
        {
            "UNEXPECTED_INPUT_TYPE": (
                "42K09",
                "Argument {paramIndex} of {functionName} must be of type {requiredType}, "
                "but {inputSql} is of type {inputType}.",
            ),
            "INVALID_EXTRACT_FIELD": ("42601", "{field} cannot be extracted from {expr}. Check the name of the part."),
            "INVALID_EXTRACT_FIELD_TYPE": ("42000", "The name of a field must be a text constant, not {extraction}."),
            "INVALID_EXTRACT_BASE_FIELD_TYPE": (
                "42000",
                "Nothing can be extracted from {base}: it must be a struct, an array or a map, not {other}.",
            ),
            "INVALID_COLUMN_OR_FIELD_DATA_TYPE": ("42000", "{name} is of type {type}, but must be {expectedType}."),
            "UNSUPPORTED_DATATYPE": ("0A000", "The type {typeName} is not supported."),
            "EMPTY_SCHEMA_NOT_SUPPORTED_FOR_DATASOURCE": (
                "0A000",
                "The format {format} cannot write a schema without columns, at the top or in a struct.",
            ),
            "UNSUPPORTED_TIME_TYPE": ("0A000", "The type TIME is not supported here."),
            "UNSUPPORTED_DATA_TYPE_FOR_DATASOURCE": (
                "0A000",
                "The format {format} cannot hold the column {columnName} of type {columnType}. Cast or drop it.",
            ),
            "EXPRESSION_TYPE_IS_NOT_ORDERABLE": ("42822", "{expr} cannot be ordered: its type is {exprType}."),
            "NON_FOLDABLE_ARGUMENT": (
                "42K08",
                "The parameter {paramName} of {funcName} must be a constant of type {paramType}.",
            ),
            "SECOND_FUNCTION_ARGUMENT_NOT_INTEGER": (
                "22023",
                "The second argument of {functionName} must be an integer.",
            ),
            "INVALID_ESCAPE_CHAR": ("42604", "The escape of LIKE must be one character, not {sqlExpr}."),
            "NUM_COLUMNS_MISMATCH": (
                "42826",
                "{operator} needs inputs with the same number of columns, but the first has {firstNumColumns} "
                "and the {invalidOrdinalNum} has {invalidNumColumns}.",
            ),
            "INCOMPATIBLE_COLUMN_TYPE": (
                "42825",
                "{operator} needs inputs with matching types, but the {columnOrdinalNumber} column of the "
                "{tableOrdinalNumber} input is {dataType1}, where the first has {dataType2}.{hint}",
            ),
            "INCOMPATIBLE_JOIN_TYPES": ("42613", "{joinType1} and {joinType2} cannot stand in one join."),
            "UNSUPPORTED_JOIN_TYPE": ("0A000", "There is no join of type {typ}. There are {supported}."),
            "MISSING_AGGREGATION": (
                "42803",
                "{expression} is neither a grouping key nor an aggregate. Group by it, aggregate it, "
                "or take any value with {expressionAnyValue}.",
            ),
            "MISSING_GROUP_BY": ("42803", "The query aggregates without GROUP BY. Add one, or turn it into a window."),
            "GROUP_BY_AGGREGATE": ("42903", "GROUP BY cannot hold the aggregate {sqlExpr}."),
            "GROUP_BY_POS_AGGREGATE": ("42903", "GROUP BY {index} points to {aggExpr}, which holds an aggregate."),
            "GROUP_BY_POS_OUT_OF_RANGE": ("42805", "GROUP BY {index} points nowhere: positions go from 1 to {size}."),
            "ORDER_BY_POS_OUT_OF_RANGE": ("42805", "ORDER BY {index} points nowhere: positions go from 1 to {size}."),
            "NESTED_AGGREGATE_FUNCTION": (
                "42607",
                "An aggregate stands inside another. Compute the inner one in a subquery.",
            ),
            "INVALID_WHERE_CONDITION": (
                "42903",
                "WHERE {condition} holds what cannot stand there: {expressionList}. Use HAVING or a subquery.",
            ),
            "INVALID_USAGE_OF_STAR_OR_REGEX": ("42000", "{elem} cannot stand in {prettyName}. Name the columns."),
            "UNSUPPORTED_EXPR_FOR_WINDOW": ("42P20", "{sqlExpr} is not a function that can have an OVER clause."),
            "WINDOW_FUNCTION_WITHOUT_OVER_CLAUSE": ("42601", "{funcName} needs an OVER clause."),
            "WINDOW_FUNCTION_AND_FRAME_MISMATCH": ("42K0E", "{funcName} cannot have the frame of {windowExpr}."),
            "DISTINCT_WINDOW_FUNCTION_UNSUPPORTED": ("0A000", "DISTINCT cannot stand in a window: {windowExpr}."),
            "UNPIVOT_REQUIRES_VALUE_COLUMNS": ("42K0A", "UNPIVOT needs at least one column of values."),
            "UNPIVOT_VALUE_DATA_TYPE_MISMATCH": ("42K09", "The columns of UNPIVOT have no common type: {types}."),
            "NON_LITERAL_PIVOT_VALUES": ("42K08", "The values of PIVOT must be constants, not {expression}."),
            "PIVOT_VALUE_DATA_TYPE_MISMATCH": (
                "42K09",
                "The PIVOT value {value} of type {valueType} does not fit the column's type {pivotType}.",
            ),
            "UNION_NOT_SUPPORTED_IN_RECURSIVE_CTE": ("42836", "A recursive WITH needs UNION ALL."),
            "ASSIGNMENT_ARITY_MISMATCH": ("42802", "{numTarget} targets cannot take {numExpr} values."),
            "CANNOT_PARSE_INTERVAL": ("22006", "{intervalString} is not an interval. Write it as in '10 minutes'."),
            "INVALID_LAMBDA_FUNCTION_CALL.NUM_ARGS_MISMATCH": (
                "42K0D",
                "The lambda function takes {actualNumArgs} arguments, but gets {expectedNumArgs}.",
            ),
            "INVALID_LAMBDA_FUNCTION_CALL.DUPLICATE_ARG_NAMES": (
                "42K0D",
                "Two arguments of the lambda function are the same: {args}. Case matters if {caseSensitiveConfig} is set.",
            ),
            "INVALID_LAMBDA_FUNCTION_CALL.NON_HIGHER_ORDER_FUNCTION": ("42K0D", "{class} takes no lambda function."),
            "INVALID_LAMBDA_FUNCTION_CALL.PARAMETER_DOES_NOT_ACCEPT_LAMBDA_FUNCTION": (
                "42K0D",
                "A lambda function stands where a value is expected.",
            ),
        },
    ),
    **_family(
        "analysis",
        "WRONG_NUM_ARGS",
        "42605",
        "{functionName} takes {expectedNum} arguments, not {actualNum}.",
        {
            "WITHOUT_SUGGESTION": "See its description at {docroot}.",
            "WITH_SUGGESTION": "{legacyNum} are taken if {legacyConfKey} is {legacyConfValue}.",
        },
    ),
    **_family(
        "analysis",
        "DATATYPE_MISMATCH",
        "42K09",
        "{sqlExpr} has the wrong types.",
        {
            "ARRAY_FUNCTION_DIFF_TYPES": (
                "{functionName} needs {dataType} and a matching element, but got {leftType} and {rightType}."
            ),
            "BINARY_ARRAY_DIFF_TYPES": (
                "Both arguments of {functionName} must be {arrayType} of one element type, "
                "but are {leftType} and {rightType}."
            ),
            "BINARY_OP_DIFF_TYPES": "The sides are {left} and {right}. Cast one to the type of the other.",
            "BINARY_OP_WRONG_TYPE": "The operator needs {inputType}, not {actualDataType}.",
            "CANNOT_CONVERT_TO_JSON": "{name} of type {type} has no form in JSON.",
            "CANNOT_DROP_ALL_FIELDS": "A struct must keep at least one field.",
            "CAST_WITHOUT_SUGGESTION": "{srcType} cannot be cast to {targetType}.",
            "CAST_WITH_CONF_SUGGESTION": (
                "{srcType} can be cast to {targetType} only if {config} is {configVal}. try_cast may do."
            ),
            "CAST_WITH_FUNC_SUGGESTION": "{srcType} cannot be cast to {targetType}. Use {functionNames}.",
            "CREATE_MAP_KEY_DIFF_TYPES": "The keys of {functionName} have no common type: {dataType}.",
            "CREATE_MAP_VALUE_DIFF_TYPES": "The values of {functionName} have no common type: {dataType}.",
            "CREATE_NAMED_STRUCT_WITHOUT_FOLDABLE_STRING": "Names must be text constants, not {inputExprs}.",
            "DATA_DIFF_TYPES": "The arguments of {functionName} have no common type: {dataType}.",
            "FILTER_NOT_BOOLEAN": "The condition {filter} must be BOOLEAN, not {type}.",
            "HASH_MAP_TYPE": "{functionName} cannot hash a MAP. Hash its sorted entries instead.",
            "INPUT_SIZE_NOT_ONE": "{exprName} must have one element.",
            "INVALID_ARG_VALUE": "{inputName} must be a {requireType} among {validValues}, not {inputValue}.",
            "INVALID_JSON_MAP_KEY_TYPE": "Keys of a MAP in JSON must be STRING, but the schema is {schema}.",
            "INVALID_JSON_SCHEMA": "The schema of JSON must be a STRUCT, an ARRAY, a MAP or a VARIANT, not {schema}.",
            "INVALID_MAP_KEY_TYPE": "{keyType} cannot be the key of a MAP.",
            "INVALID_ORDERING_TYPE": "{functionName} needs values that can be ordered, not {dataType}.",
            "IN_SUBQUERY_DATA_TYPE_MISMATCH": (
                "The subquery's columns do not match: {mismatchedColumns} (left {leftType}, right {rightType})."
            ),
            "IN_SUBQUERY_LENGTH_MISMATCH": (
                "The left side has {leftLength} columns ({leftColumns}), the subquery {rightLength} ({rightColumns})."
            ),
            "MAP_CONCAT_DIFF_TYPES": "The maps of {functionName} must be of one type, but are {dataType}.",
            "MAP_FUNCTION_DIFF_TYPES": (
                "{functionName} needs {dataType} and a matching key, but got {leftType} and {rightType}."
            ),
            "MAP_ZIP_WITH_DIFF_TYPES": "The keys of {functionName} must match, but are {leftType} and {rightType}.",
            "NON_FOLDABLE_INPUT": "{inputName} must be a constant of type {inputType}, not {inputExpr}.",
            "NON_STRING_TYPE": "All arguments of {funcName} must be STRING.",
            "NON_STRUCT_TYPE": "{inputName} must be a STRUCT, not {inputType}.",
            "NULL_TYPE": "The arguments of {functionName} must not be NULL constants. Cast them.",
            "PARAMETER_CONSTRAINT_VIOLATION": (
                "{leftExprName} ({leftExprValue}) must be {constraint} {rightExprName} ({rightExprValue})."
            ),
            "RANGE_FRAME_INVALID_TYPE": "A RANGE over {orderSpecType} cannot have a bound of {valueBoundaryType}.",
            "RANGE_FRAME_MULTI_ORDER": "A RANGE with a value needs one ordering column, not {orderSpec}.",
            "RANGE_FRAME_WITHOUT_ORDER": "A RANGE needs ORDER BY in its window.",
            "SEQUENCE_WRONG_INPUT_TYPES": (
                "{functionName} needs a start of {startType} with a step of {stepType}, or a start of {otherStartType}."
            ),
            "SPECIFIED_WINDOW_FRAME_DIFF_TYPES": "The bounds {lower} ({lowerType}) and {upper} ({upperType}) differ.",
            "SPECIFIED_WINDOW_FRAME_INVALID_BOUND": "The upper bound {upper} does not follow the lower {lower}.",
            "SPECIFIED_WINDOW_FRAME_UNACCEPTED_TYPE": "The {location} bound must be {expectedType}, not {exprType}.",
            "SPECIFIED_WINDOW_FRAME_WITHOUT_FOLDABLE": "The {location} bound must be a constant, not {expression}.",
            "SPECIFIED_WINDOW_FRAME_WRONG_COMPARISON": "The lower bound must be {comparison} the upper.",
            "STACK_COLUMN_DIFF_TYPES": (
                "Column {columnIndex} is {leftType} in argument {leftParamIndex} "
                "and {rightType} in argument {rightParamIndex}."
            ),
            "TYPE_CHECK_FAILURE_WITH_HINT": "{msg}{hint}",
            "UNEXPECTED_CLASS_TYPE": "There is no class {className}.",
            "UNEXPECTED_INPUT_TYPE": (
                "Argument {paramIndex} must be of type {requiredType}, but {inputSql} is of type {inputType}."
            ),
            "UNEXPECTED_NULL": "{exprName} must not be NULL.",
            "UNEXPECTED_RETURN_TYPE": "{functionName} must return {expectedType}, not {actualType}.",
            "UNSUPPORTED_INPUT_TYPE": "{functionName} does not take {dataType}.",
            "VALUE_OUT_OF_RANGE": "{exprName} must be within {valueRange}, but is {currentValue}.",
            "WRONG_NUM_ARG_TYPES": "{expectedNum} argument types are needed, not {actualNum}.",
            "WRONG_NUM_ENDPOINTS": "At least two endpoints are needed, not {actualNumber}.",
        },
    ),
    **_family(
        "analysis",
        "UNSUPPORTED_GENERATOR",
        "42K0E",
        "The generator cannot stand here.",
        {
            "MULTI_GENERATOR": "A SELECT may hold one, not {num}: {generators}. Use LATERAL VIEW for the others.",
            "NESTED_IN_EXPRESSIONS": "It is inside {expression}. Put it on the top of a SELECT item.",
            "NOT_GENERATOR": "{functionName} ({classCanonicalName}) generates no rows.",
            "OUTSIDE_SELECT": "It stands outside the SELECT list: {plan}.",
        },
    ),
    **_family(
        "analysis",
        "INVALID_AGGREGATE_FILTER",
        "42903",
        "FILTER ({filterExpr}) cannot go with an aggregate.",
        {
            "CONTAINS_AGGREGATE": "It holds the aggregate {aggExpr}.",
            "CONTAINS_WINDOW_FUNCTION": "It holds the window function {windowExpr}.",
            "NON_DETERMINISTIC": "It may differ from one evaluation to the next.",
            "NOT_BOOLEAN": "It is no condition.",
        },
    ),
    **_family(
        "analysis",
        "INVALID_SUBQUERY_EXPRESSION",
        "42823",
        "The subquery is not valid.",
        {
            "SCALAR_SUBQUERY_RETURN_MORE_THAN_ONE_OUTPUT_COLUMN": "It must give one column, not {number}.",
            "STREAMING_QUERY": "It reads a stream. Join with the stream instead.",
        },
    ),
    **_family(
        "analysis",
        "INVALID_SCHEMA",
        "42K07",
        "{inputSchema} is not a schema.",
        {
            "NON_STRING_LITERAL": "It must be a text constant.",
            "NON_STRUCT_TYPE": "It must be a STRUCT, not {dataType}.",
            "PARSE_ERROR": "It cannot be read: {reason}",
        },
    ),
    **_family(
        "argument",
        "INVALID_DELIMITER_VALUE",
        "42602",
        "The value of the delimiter is not valid.",
        {
            "SINGLE_BACKSLASH": "A single backslash is not allowed.",
            "UNSUPPORTED_SPECIAL_CHARACTER": "The special character {str} is not supported.",
        },
    ),
    **_family(
        "analysis",
        "INVALID_OPTIONS",
        "42K06",
        "The options are not valid.",
        {
            "NON_MAP_FUNCTION": "They must be given by map().",
            "NON_STRING_TYPE": "Keys and values must be STRING, not {mapType}.",
        },
    ),
}

# ---------------------------------------------------------------------------------------------------------------------
# SQL text

_PARSE = {
    **_rows(
        "parse",
        {
            "PARSE_SYNTAX_ERROR": ("42601", "Syntax error at or near {error}{hint}."),
            "PARSE_EMPTY_STATEMENT": ("42617", "There is no statement in this text."),
            "UNCLOSED_BRACKETED_COMMENT": ("42601", "A comment is opened and never closed. End it with */."),
            "INVALID_TYPED_LITERAL": ("42604", "{value} is not a value of type {valueType}."),
            "INVALID_NUMERIC_LITERAL_RANGE": (
                "22003",
                "{rawStrippedQualifier} does not fit {typeName}, which goes from {minValue} to {maxValue}.",
            ),
            "DATATYPE_MISSING_SIZE": ("42K01", "The type {type} needs a length, as in {type}(10)."),
            "MISSING_WINDOW_SPECIFICATION": ("42P20", "There is no window {windowName} in a WINDOW clause."),
            "DECIMAL_PRECISION_EXCEEDS_MAX_PRECISION": (
                "22003",
                "A decimal has at most {maxPrecision} digits, not {precision}.",
            ),
            "_LEGACY_ERROR_TEMP_0029": (None, "Cannot mix year-month and day-time fields: {literal}."),
            "_LEGACY_ERROR_TEMP_0053": (None, "A temporary view cannot be created with IF NOT EXISTS. Use OR REPLACE."),
            "_LEGACY_ERROR_TEMP_0064": (None, "{msg}"),
            "INVALID_SET_SYNTAX": ("42000", "SET is written as SET key, SET key=value or SET."),
            "DUPLICATE_KEY": ("23505", "The key {keyColumn} is given twice."),
            "REQUIRES_EXPLICIT_NAME_IN_WATERMARK_CLAUSE": ("42000", "Give {sqlExpr} a name (AS …) in WATERMARK."),
        },
    ),
    **_family(
        "parse",
        "INVALID_SQL_SYNTAX",
        "42000",
        "The SQL is not valid.",
        {
            "FUNCTION_WITH_UNSUPPORTED_SYNTAX": "The function {prettyName} does not take {syntax}.",
            "EMPTY_IN_PREDICATE": "IN () is empty. Use WHERE FALSE for a condition that never holds.",
            "INVALID_TABLE_VALUED_FUNC_NAME": "{funcName} is not the name of a table function.",
            "INVALID_WINDOW_REFERENCE": "The window {windowName} is not defined by a specification.",
            "LATERAL_WITHOUT_SUBQUERY_OR_TABLE_VALUED_FUNC": "LATERAL goes with a subquery or a table function.",
            "MULTI_PART_NAME": "{statement} takes a simple name, not {name}.",
            "REPETITIVE_WINDOW_DEFINITION": "The window {windowName} is defined twice.",
            "UNRESOLVED_WINDOW_REFERENCE": "There is no window {windowName}.",
            "UNSUPPORTED_SQL_STATEMENT": "The statement is not supported: {sqlText}",
        },
    ),
}

_PARSE |= {
    **_family(
        "analysis",
        "INVALID_LIMIT_LIKE_EXPRESSION",
        "42K0E",
        "The {name} expression {expr} is not valid.",
        {
            "IS_NEGATIVE": "It must not be negative, and is {v}.",
            "IS_UNFOLDABLE": "It must be a constant.",
        },
    ),
    **_family(
        "analysis",
        "INVALID_INLINE_TABLE",
        "42000",
        "The inline table is not valid.",
        {
            "NUM_COLUMNS_MISMATCH": ("Row {rowIndex} has {actualNumCols} values where {expectedNumCols} are expected."),
        },
    ),
}

# ---------------------------------------------------------------------------------------------------------------------
# Values met at run time

_VALUES = {
    **_rows(
        "arithmetic",
        {
            "ARITHMETIC_OVERFLOW": (
                "22003",
                "{message}.{alternative} Or set {config} to false, which lets values overflow.",
            ),
            "BINARY_ARITHMETIC_OVERFLOW": (
                "22003",
                "{value1} {symbol} {value2} does not fit the type. {functionName} gives NULL instead.",
            ),
            "CAST_OVERFLOW": (
                "22003",
                "{value} of type {sourceType} does not fit {targetType}. try_cast gives NULL instead.",
            ),
            "CAST_OVERFLOW_IN_TABLE_INSERT": (
                "22003",
                "A value of type {sourceType} does not fit the column {columnName} of type {targetType}.",
            ),
            "DIVIDE_BY_ZERO": (
                "22012",
                "Division by zero. try_divide gives NULL instead, and so does setting {config} to false.",
            ),
            "REMAINDER_BY_ZERO": (
                "22012",
                "Remainder by zero. try_mod gives NULL instead, and so does setting {config} to false.",
            ),
            "INTERVAL_DIVIDED_BY_ZERO": ("22012", "An interval is divided by zero. try_divide gives NULL instead."),
            "INTERVAL_ARITHMETIC_OVERFLOW.WITHOUT_SUGGESTION": ("22015", "The interval is too long for its type."),
            "INTERVAL_ARITHMETIC_OVERFLOW.WITH_SUGGESTION": (
                "22015",
                "The interval is too long for its type. {functionName} gives NULL instead.",
            ),
            "NUMERIC_VALUE_OUT_OF_RANGE.WITHOUT_SUGGESTION": (
                "22003",
                "{roundedValue}, rounded from {originalValue}, does not fit DECIMAL({precision}, {scale}).",
            ),
            "NUMERIC_VALUE_OUT_OF_RANGE.WITH_SUGGESTION": (
                "22003",
                "{value} does not fit DECIMAL({precision}, {scale}). Setting {config} to false gives NULL instead.",
            ),
            "DATETIME_OVERFLOW": ("22008", "The result of {operation} is no date or time that can be held."),
        },
    ),
    **_rows(
        "number",
        {
            "CAST_INVALID_INPUT": (
                "22018",
                "The value {expression} of the type {sourceType} cannot be cast to {targetType}, as it is malformed. "
                "Correct it, or use try_cast, which gives NULL instead.",
            ),
            "CANNOT_PARSE_DECIMAL": ("22018", "The text is no decimal number."),
        },
    ),
    **_rows(
        "datetime",
        {
            "CANNOT_PARSE_TIMESTAMP": (
                "22007",
                "{message}. Correct the text, or use {func}, which gives NULL instead.",
            ),
            "_LEGACY_ERROR_TEMP_2000": (None, "{message}. Setting {ansiConfig} to false gives NULL instead."),
            "CANNOT_PARSE_TIME": ("22010", "{input} is no time of the form {format}."),
            "INVALID_FRACTION_OF_SECOND": ("22023", "A second must be from 0 to below 60, not {secAndMicros}."),
            "INVALID_TIMEZONE": (
                "22009",
                "{timeZone} is no time zone. Use a region (Europe/Oslo) or an offset (+02:00).",
            ),
            "DATETIME_FIELD_OUT_OF_BOUNDS.WITHOUT_SUGGESTION": ("22023", "{rangeMessage}."),
            "DATETIME_FIELD_OUT_OF_BOUNDS.WITH_SUGGESTION": (
                "22023",
                "{rangeMessage}. Setting {ansiConfig} to false gives NULL instead.",
            ),
        },
    ),
    **_rows(
        "upgrade",
        {
            "INCONSISTENT_BEHAVIOR_CROSS_VERSION.DATETIME_PATTERN_RECOGNITION": (
                "42K0B",
                "The pattern {pattern} is not valid since Spark 3.0. Correct it by {docroot} (see also {config}).",
            ),
            "INCONSISTENT_BEHAVIOR_CROSS_VERSION.DATETIME_WEEK_BASED_PATTERN": (
                "42K0B",
                "The week-based pattern letter {c} is not supported since Spark 3.0. Use EXTRACT.",
            ),
            "INCONSISTENT_BEHAVIOR_CROSS_VERSION.PARSE_DATETIME_BY_NEW_PARSER": (
                "42K0B",
                "{datetime} does not follow the pattern strictly. Correct one of them (see also {config}).",
            ),
        },
    ),
    **_rows(
        "index",
        {
            "INVALID_ARRAY_INDEX": (
                "22003",
                "The index {indexValue} is outside the array of {arraySize} elements. get() gives NULL instead.",
            ),
            "INVALID_ARRAY_INDEX_IN_ELEMENT_AT": (
                "22003",
                "The index {indexValue} is outside the array of {arraySize} elements. try_element_at gives NULL instead.",
            ),
        },
    ),
    **_rows(
        "execution",
        {
            "INVALID_INDEX_OF_ZERO": (
                "22003",
                "The index 0 is not valid: elements count from 1, or from the end by -1.",
            ),
            "NULL_MAP_KEY": ("2200E", "A key of a map must not be NULL."),
            "DUPLICATED_MAP_KEY": (
                "23505",
                "The key {key} occurs twice in a map. Remove one, or let the last win by {mapKeyDedupPolicy}=LAST_WIN.",
            ),
            "SCALAR_SUBQUERY_TOO_MANY_ROWS": (
                "21000",
                "A scalar subquery gave more than one row. Limit or aggregate it.",
            ),
            "USER_RAISED_EXCEPTION": ("P0001", "{errorMessage}"),
            "USER_RAISED_EXCEPTION_PARAMETER_MISMATCH": (
                "P0001",
                "raise_error of {errorClass} needs the parameters {expectedParms}, not {providedParms}.",
            ),
            "USER_RAISED_EXCEPTION_UNKNOWN_ERROR_CLASS": ("P0001", "raise_error knows no condition {errorClass}."),
            "INVALID_REGEXP_REPLACE": (
                "22023",
                "regexp_replace failed for source {source}, pattern {pattern}, replacement {replacement}, "
                "position {position}.",
            ),
            "NOT_NULL_ASSERT_VIOLATION": ("42000", "NULL in a field that is not nullable: {walkedTypePath}"),
            "INVALID_JSON_SCHEMA_MAP_TYPE": ("22032", "{jsonSchema}: only STRING may be the key of a MAP in JSON."),
            "HLL_INVALID_LG_K": ("22546", "{function}: lgConfigK must be from {min} to {max}, not {value}."),
        },
    ),
    **_family(
        "execution",
        "NOT_NULL_CONSTRAINT_VIOLATION",
        "42000",
        "NULL is not allowed here.",
        {
            "ARRAY_ELEMENT": "The array {columnPath} must hold no NULL.",
            "MAP_VALUE": "The values of the map {columnPath} must not be NULL.",
        },
    ),
    **_family(
        "execution",
        "COLLECTION_SIZE_LIMIT_EXCEEDED",
        "54000",
        "{numberOfElements} elements are more than the {maxRoundedArrayLength} that an array can hold.",
        {
            "FUNCTION": "The function is {functionName}.",
            "INITIALIZE": "",
            "PARAMETER": "Lower {parameter} of {functionName}.",
        },
    ),
    **_family(
        "execution",
        "INVALID_PARAMETER_VALUE",
        "22023",
        "The value of {parameter} in {functionName} is not valid.",
        {
            "BINARY_FORMAT": "The format must be one of 'base64', 'hex', 'utf-8', 'utf8', not {invalidFormat}.",
            "BIT_POSITION_RANGE": "The position must be from 0 to below {upper}, not {invalidValue}.",
            "BOOLEAN": "It must be a boolean, not {invalidValue}.",
            "CHARSET": "It must be one of {charsets}, not {charset}.",
            "DATETIME_UNIT": "It must be the name of a unit such as DAY, without quotes, not {invalidValue}.",
            "DOUBLE": "It must be a number, not {invalidValue}.",
            "INTEGER": "It must be an integer, not {invalidValue}.",
            "LENGTH": "The length must not be negative, but is {length}.",
            "LONG": "It must be a long integer, not {invalidValue}.",
            "NULL": "It must not be NULL.",
            "PATTERN": "{value} is no regular expression.",
            "REGEX_GROUP_INDEX": "The group must be from 0 to {groupCount}, not {groupIndex}.",
            "START": "The start must not be 0: characters count from 1, or from the end by -1.",
            "STRING": "It must be text, not {invalidValue}.",
            "TIME_UNIT": "It must be one of HOUR, MINUTE, SECOND, MILLISECOND, MICROSECOND, not {invalidValue}.",
            "ZERO_INDEX": "The index must not be 0: elements count from 1, or from the end by -1.",
        },
    ),
    **_family(
        "argument",
        "INVALID_DATETIME_PATTERN",
        "22007",
        "{pattern} is not a pattern of dates and times.",
        {
            "ILLEGAL_CHARACTER": "{c} is not allowed in it.",
            "LENGTH": "A letter is repeated too often.",
            "SECONDS_FRACTION": "Fractions of seconds go up to nine digits.",
            "WITH_SUGGESTION": "See {docroot}.",
        },
    ),
    **_family(
        "argument",
        "INVALID_INTERVAL_FORMAT",
        "22006",
        "{input} is not an interval; write it as in '10 minutes'.",
        {
            "ARITHMETIC_EXCEPTION": "A number in it is too big.",
            "DAY_TIME_PARSING": "{msg}",
            "INPUT_IS_EMPTY": "It is empty.",
            "INPUT_IS_NULL": "It is NULL.",
            "INTERVAL_PARSING": "It cannot be read as {interval}.",
            "INVALID_FRACTION": "{unit} cannot have a fraction.",
            "INVALID_PRECISION": "Seconds have at most nine decimals: {value}.",
            "INVALID_PREFIX": "It cannot begin with {prefix}.",
            "INVALID_UNIT": "There is no unit {unit}.",
            "INVALID_VALUE": "{value} is not a number.",
            "MISSING_NUMBER": "A number is missing before {word}.",
            "MISSING_UNIT": "A unit is missing after {word}.",
            "UNKNOWN_PARSING_ERROR": "The error is at {word}.",
            "UNMATCHED_FORMAT_STRING": "{intervalStr} of {typeName} must have the form {supportedFormat}.",
            "UNRECOGNIZED_NUMBER": "{number} is not a number.",
            "UNSUPPORTED_FROM_TO_EXPRESSION": "There is no interval from {from} to {to}.",
        },
    ),
    **_rows(
        "argument",
        {
            "UNRECOGNIZED_STATISTIC": ("42704", "There is no statistic {stats}."),
            "CONVERSION_INVALID_INPUT": (
                "22018",
                "{str} is no {fmt} text, and cannot become {targetType}. {suggestion} gives NULL instead.",
            ),
            "INVALID_URL": ("22P02", "{url} is no URL. try_parse_url gives NULL instead."),
            "INVALID_UTF8_STRING": ("22029", "The text holds bytes that are not UTF-8: {str}."),
            "CANNOT_MODIFY_STATIC_CONFIG": (
                "46110",
                "{key} is fixed once the session exists. Set it when the session is built.",
            ),
            "CANNOT_MODIFY_CONFIG": ("46110", "{key} cannot be changed here. See {docroot}."),
            "SQL_CONF_NOT_FOUND": ("42K0I", "There is no configuration {sqlConf}, or it has no value."),
            "INVALID_SAVE_MODE": ("42000", "{mode} is no save mode. Use append, overwrite, ignore, error or default."),
        },
    ),
    **_family(
        "argument",
        "INVALID_CONF_VALUE",
        "22022",
        "{confValue} cannot be the value of {confName}.",
        {
            "OUT_OF_RANGE_OF_OPTIONS": "It must be one of {confOptions}.",
            "REQUIREMENT": "{confRequirement}",
            "TIME_ZONE": "It must be a region (Europe/Oslo) or an offset (+02:00).",
            "TYPE_MISMATCH": "It must be of type {confType}.",
        },
    ),
    **_rows(
        "python",
        {
            "PYTHON_EXCEPTION": ("38000", "{msg}\n{traceback}"),
            "PYTHON_STREAMING_DATA_SOURCE_RUNTIME_ERROR": (
                "38000",
                "The Python data source failed in {action}: {msg}",
            ),
            "PYTHON_DATA_SOURCE_ERROR": ("38000", "The Python data source {type} failed to {action}: {msg}"),
            "FOREACH_BATCH_USER_FUNCTION_ERROR": ("39000", "The function given to foreachBatch failed: {reason}"),
            "FOREACH_USER_FUNCTION_ERROR": ("39000", "The writer given to foreach failed: {reason}"),
            "TRANSFORM_WITH_STATE_USER_FUNCTION_ERROR": (
                "39000",
                "{function} of the stateful processor failed: {reason}",
            ),
        },
    ),
}

# ---------------------------------------------------------------------------------------------------------------------
# Files and data sources

_SOURCES = {
    **_rows(
        "analysis",
        {
            "PATH_NOT_FOUND": ("42K03", "There is nothing at {path}. Check the path."),
            "PATH_ALREADY_EXISTS": ("42K04", "{outputPath} exists already. Choose another mode or path, or remove it."),
            "UNABLE_TO_INFER_SCHEMA": ("42KD9", "The {format} files say no schema. Give one with schema()."),
            "DATA_SOURCE_NOT_FOUND": ("42K02", "There is no data source {provider}. Check its name, or register it."),
            "DATA_SOURCE_ALREADY_EXISTS": ("42710", "There is a data source {provider} already. Choose another name."),
            "UNSUPPORTED_DATA_SOURCE_SAVE_MODE": ("0A000", "The source {source} does not know the mode {createMode}."),
            "CONFLICTING_DIRECTORY_STRUCTURES": (
                "KD009",
                "The partitions lie below different directories: {discoveredBasePaths}. "
                "Set the option basePath, or read them one by one and union them.",
            ),
            "PARQUET_TYPE_NOT_SUPPORTED": ("42846", "The Parquet type {parquetType} is not supported."),
        },
    ),
    **_family(
        "spark",
        "FAILED_READ_FILE",
        "KD001",
        "The file {path} cannot be read.",
        {
            "CANNOT_READ_FILE_FOOTER": "Its footer is damaged, or it is not of this format.",
            "FILE_NOT_EXIST": "It has vanished. Refresh the table, or read the directory again.",
            "NO_HINT": "{reason}",
            "PARQUET_COLUMN_DATA_TYPE_MISMATCH": "The column {column} is {actualType} in it, not {expectedType}.",
            "UNSUPPORTED_FILE_SYSTEM": "The file system {fileSystemClass} has no {method}.",
        },
    ),
    **_family(
        "spark",
        "MALFORMED_RECORD_IN_PARSING",
        "22023",
        "The record {badRecord} is malformed, and the mode is {failFastMode}.",
        {
            "CANNOT_PARSE_JSON_ARRAYS_AS_STRUCTS": "A JSON array stands where an object is expected.",
            "CANNOT_PARSE_STRING_AS_DATATYPE": (
                "{fieldValue} in the field {fieldName} ({inputType}) is not a value of type {targetType}."
            ),
            "WITHOUT_SUGGESTION": "The mode PERMISSIVE gives NULL instead, DROPMALFORMED drops it.",
        },
    ),
    **_rows(
        "spark",
        {
            "KAFKA_NULL_TOPIC_IN_DATA": (
                None,
                "A row has no topic. Fill the column topic, or set the option topic of the sink.",
            ),
            "KAFKA_START_OFFSET_DOES_NOT_MATCH_ASSIGNED": (
                None,
                "startingOffsets must name every assigned partition. It has {specifiedPartitions}, "
                "and {assignedPartitions} are assigned.",
            ),
            "KAFKA_TIMESTAMP_OFFSET_DOES_NOT_MATCH_ASSIGNED": (
                None,
                "The {position} offsets by timestamp must name every assigned partition. They have "
                "{specifiedPartitions}, and {assignedPartitions} are assigned.",
            ),
            "MISMATCHED_TOPIC_PARTITIONS_BETWEEN_END_OFFSET_AND_PREFETCHED": (
                None,
                "The partitions changed while the end was being fixed: {tpsForPrefetched} became {tpsForEndOffset}. "
                "Restart the query.",
            ),
            "MISMATCHED_TOPIC_PARTITIONS_BETWEEN_START_OFFSET_AND_END_OFFSET": (
                None,
                "Start and end must name the same partitions, but are {tpsForStartOffset} and {tpsForEndOffset}.",
            ),
            "END_OFFSET_HAS_GREATER_OFFSET_FOR_TOPIC_PARTITION_THAN_PREFETCHED": (
                None,
                "The end {endOffset} lies after the end fixed at the start, {prefetchedOffset}. Restart the query.",
            ),
            "END_OFFSET_HAS_GREATER_OFFSET_FOR_TOPIC_PARTITION_THAN_LATEST_WITH_TRIGGER_AVAILABLENOW": (
                None,
                "The end {endOffset} lies after the newest record, {latestOffset}. Restart the query.",
            ),
            "LOST_TOPIC_PARTITIONS_IN_END_OFFSET_WITH_TRIGGER_AVAILABLENOW": (
                None,
                "Partitions went away during the run: {tpsForEndOffset} became {tpsForLatestOffset}. Restart the query.",
            ),
            "RESOLVED_START_OFFSET_GREATER_THAN_END_OFFSET": (
                None,
                "In partition {partition} of {topic} the start {startOffset} lies after the end {endOffset}.",
            ),
            "UNRESOLVED_START_OFFSET_GREATER_THAN_END_OFFSET": (
                None,
                "In partition {partition} of {topic} the given start {startOffset} lies after the end {endOffset}.",
            ),
        },
    ),
    **_family(
        "spark",
        "KAFKA_DATA_LOSS",
        "22000",
        "Records that were not read yet are gone from Kafka. Set failOnDataLoss to false to go on without them.",
        {
            "ADDED_PARTITION_DOES_NOT_START_FROM_OFFSET_ZERO": (
                "The new partition {topicPartition} begins at {startOffset}, not at 0."
            ),
            "COULD_NOT_READ_OFFSET_RANGE": (
                "[{startOffset}, {endOffset}) of {topicPartition} cannot be read by the group {groupId}."
            ),
            "INITIAL_OFFSET_NOT_FOUND_FOR_PARTITIONS": "The partitions {partitions} have no first offset.",
            "PARTITIONS_DELETED": "The partitions {partitions} are deleted.",
            "PARTITIONS_DELETED_AND_GROUP_ID_CONFIG_PRESENT": (
                "The partitions {partitions} are deleted. Leave out kafka.{groupIdConfig}, lest two queries share a group."
            ),
            "PARTITION_OFFSET_CHANGED": "{topicPartition} went back from {prevOffset} to {newOffset}.",
            "START_OFFSET_RESET": "{topicPartition} should start at {offset}, but starts at {fetchedOffset}.",
        },
    ),
    **_family(
        "spark",
        "MALFORMED_STATE_IN_RATE_PER_MICRO_BATCH_SOURCE",
        "22000",
        "The offsets in the checkpoint of the rate-micro-batch source are not valid.",
        {
            "INVALID_OFFSET": "The offset goes back, from {startOffset} to {endOffset}.",
            "INVALID_TIMESTAMP": "The time goes back, from {startTimestamp} to {endTimestamp}.",
        },
    ),
}

# ---------------------------------------------------------------------------------------------------------------------
# Streaming: what a plan may be

_STREAMING_PLAN = {
    **_rows(
        "analysis",
        {
            "CALL_ON_STREAMING_DATASET_UNSUPPORTED": (
                "42KDE",
                "{methodName} cannot be called on a streaming frame. Write it with writeStream.",
            ),
            "WRITE_STREAM_NOT_ALLOWED": ("42601", "writeStream goes with streaming frames only. Use write."),
            "NOT_STREAMING_DATASET": ("42K0A", "{operator} goes with streaming frames only."),
            "EVENT_TIME_IS_NOT_ON_TIMESTAMP_TYPE": (
                "42K09",
                "The event-time column {eventName} must be a TIMESTAMP, not {eventType}. Cast it.",
            ),
            "EVENT_TIME_MUST_BE_TOP_LEVEL_COLUMN": (
                "42K09",
                "{eventExpr} cannot carry the watermark: name a column. Use withColumn to lift a field out of a struct.",
            ),
            "NON_TIME_WINDOW_NOT_SUPPORTED_IN_STREAMING": (
                "42KDE",
                "The window function {windowFunc} ({columnName}) over {windowSpec} cannot run on a stream. "
                "Group by window() instead.",
            ),
            "UNSUPPORTED_STREAMING_OPERATOR_WITHOUT_WATERMARK": (
                "0A000",
                "In {outputMode} mode {statefulOperator} needs a watermark. Call withWatermark first.",
            ),
            "NEAREST_BY_JOIN.STREAMING_NOT_SUPPORTED": ("42604", "A nearest-by join cannot run on a stream."),
            "NESTED_SEQUENTIAL_STREAMING_UNION": ("42601", "Sequential unions of streams cannot be nested. {hint}"),
            "STATEFUL_CHILDREN_NOT_SUPPORTED_IN_SEQUENTIAL_STREAMING_UNION": (
                "42601",
                "The inputs of a sequential union of streams must have no stateful operators.",
            ),
            "INVALID_STREAMING_REAL_TIME_MODE_TRIGGER_INTERVAL": (
                "22023",
                "The interval {interval} of the real-time trigger is shorter than {minBatchDuration} ms.",
            ),
            "CANNOT_ASSIGN_EVENT_TIME_COLUMN_WITHOUT_WATERMARK": (
                "42611",
                "eventTimeColumnName needs a watermark on the input. Call withWatermark first.",
            ),
        },
    ),
    **_family(
        "analysis",
        "STREAMING_OUTPUT_MODE",
        "42KDE",
        "Output mode {outputMode} cannot be used here.",
        {
            "INVALID": "It must be append, update or complete.",
            "UNSUPPORTED_DATASOURCE": "The sink {className} does not support it.",
            "UNSUPPORTED_OPERATION": "It does not go with {operation}.",
        },
    ),
    **_family(
        "analysis",
        "STREAMING_QUERY_EVOLUTION_ERROR",
        "42KDE",
        "The names of this query's sources and sink are not valid.",
        {
            "ASYNC_PROGRESS_TRACKING_NOT_SUPPORTED": "Asynchronous progress tracking does not go with named sources.",
            "DUPLICATE_SOURCE_NAMES": "Names must differ, but these are given twice: {names}.",
            "INVALID_SINK_NAME": "{sinkName} must be letters, digits and underscores.",
            "INVALID_SOURCE_NAME": "{sourceName} must be letters, digits and underscores.",
            "SOURCE_NAMING_NOT_SUPPORTED": "Set spark.sql.streaming.queryEvolution.enableSourceEvolution for {name}.",
            "UNNAMED_STREAMING_SINKS_WITH_ENFORCEMENT": "The sink needs a name.",
            "UNNAMED_STREAMING_SOURCES_WITH_ENFORCEMENT": "These sources need a name: {sourceInfo}.",
        },
    ),
    **_family(
        "unsupported",
        "STREAMING_REAL_TIME_MODE",
        "0A000",
        "The real-time trigger cannot run this query.",
        {
            "ASYNC_PROGRESS_TRACKING_NOT_SUPPORTED": "It does not go with asynchronous progress tracking.",
            "IDENTICAL_SOURCES_IN_UNION_NOT_SUPPORTED": "A source is read twice: {sources}.",
            "INPUT_STREAM_NOT_SUPPORTED": "It cannot read {className}.",
            "OPERATOR_OR_SINK_NOT_IN_ALLOWLIST": "This {errorType} is not allowed: {message}.",
            "OUTPUT_MODE_NOT_SUPPORTED": "It needs the output mode update, not {outputMode}.",
            "SINK_NOT_SUPPORTED": "It cannot write to {className}.",
        },
    ),
}

# ---------------------------------------------------------------------------------------------------------------------
# Streaming: checkpoint, state, stateful processors

_STREAMING_RUN = {
    **_rows(
        "stream",
        {"STREAM_FAILED": ("XXKST", "Query [id = {id}, runId = {runId}] terminated with exception: {message}")},
    ),
    **_rows(
        "state",
        {
            "CONCURRENT_STREAM_LOG_UPDATE": (
                "40000",
                "Batch {batchId} is in the log already, so another run of this query writes to the same checkpoint. "
                "Stop it, or give each query a checkpoint of its own.",
            ),
            "INVALID_LOG_VERSION.EXACT_MATCH_VERSION": (
                "KD002",
                "The log file {path} has version {version}, where only {matchVersion} can be read.",
            ),
            "INVALID_LOG_VERSION.MAX_SUPPORTED_VERSION": (
                "KD002",
                "The log file {path} has version {version}; the newest that can be read is {maxSupportedVersion}. "
                "It was written by a newer release: run the query with that one.",
            ),
            "MALFORMED_LOG_FILE": (
                "KD002",
                "The log file {path} is not as it should be, at: {text}. Restore it, or start with a new checkpoint.",
            ),
            "STREAMING_CHECKPOINT_MISSING_METADATA_FILE": (
                "42K03",
                "The checkpoint {checkpointLocation} has logs, but its file metadata is gone, and with it the query's id. "
                "Restore it, or start with a new checkpoint.",
            ),
            "STATE_STORE_CHECKPOINT_LOCATION_NOT_EMPTY": (
                "42K03",
                "A new query needs an empty checkpoint, but {checkpointLocation} is not. Choose another location.",
            ),
            "STREAMING_STATEFUL_OPERATOR_MISSING_STATE_DIRECTORY": (
                "42K03",
                "The checkpoint has no state for the operators of this query: {OpsInCurBatchSeq}. "
                "Restore it, or start with a new checkpoint.",
            ),
            "STREAMING_STATEFUL_OPERATOR_NOT_MATCH_IN_STATE_METADATA": (
                "42K03",
                "The stateful operators differ from those that made the checkpoint. Checkpoint: {OpsInMetadataSeq}; "
                "query: {OpsInCurBatchSeq}. Undo the change, or start with a new checkpoint.",
            ),
            "STREAMING_UNFINISHED_REPARTITION_DETECTED": (
                "55019",
                "A change of the number of state partitions was left unfinished in batch {batchId} "
                "(last complete batch: {lastCommittedBatchId}). Finish it first.",
            ),
            "STATE_STORE_COMMIT_VALIDATION_FAILED": (
                "XXKST",
                "Not all of the state of batch {batchId} was written: {actualCommits} of {expectedCommits} stores, "
                "missing {missingCommits}.",
            ),
            "STATE_STORE_INVALID_CONFIG_AFTER_RESTART": (
                "42K06",
                "{configName} cannot change from {oldConfig} to {newConfig}: the checkpoint was made with the former.",
            ),
            "STATE_STORE_INVALID_PROVIDER": ("42K06", "{inputClass} is no state store provider."),
            "STATE_STORE_INVALID_VALUE_SCHEMA_EVOLUTION": (
                "XXKST",
                "The schema of the state's values cannot change from {oldValueSchema} to {newValueSchema}.",
            ),
            "STATE_STORE_INVALID_VARIABLE_TYPE_CHANGE": (
                "42K06",
                "The state variable {stateVarName} cannot change from {oldType} to {newType}.",
            ),
            "STATE_STORE_KEY_ROW_FORMAT_VALIDATION_FAILURE": (
                "XX000",
                "The keys in the state {stateStoreID} do not fit their schema: {errorMsg}",
            ),
            "STATE_STORE_VALUE_ROW_FORMAT_VALIDATION_FAILURE": (
                "XX000",
                "The values in the state {stateStoreID} do not fit their schema: {errorMsg}",
            ),
            "STATE_STORE_KEY_SCHEMA_NOT_COMPATIBLE": (
                "XXKST",
                "The keys of the state were {storedKeySchema} and would be {newKeySchema}. "
                "Undo the change, or start with a new checkpoint.",
            ),
            "STATE_STORE_VALUE_SCHEMA_NOT_COMPATIBLE": (
                "XXKST",
                "The values of the state were {storedValueSchema} and would be {newValueSchema}. "
                "Undo the change, or start with a new checkpoint.",
            ),
            "STATE_STORE_VALUE_SCHEMA_EVOLUTION_THRESHOLD_EXCEEDED": (
                "42K06",
                "The schema of {colFamilyName} changed {numSchemaEvolutions} times; {maxSchemaEvolutions} are allowed.",
            ),
            "STATE_STORE_ROW_CHECKSUM_VERIFICATION_FAILED": (
                "XXKST",
                "A row of the state {stateStoreId} is damaged: checksum {computedChecksum}, not {expectedChecksum}.",
            ),
            "STATE_STORE_HANDLE_NOT_INITIALIZED": ("42802", "State variables are made in init() of the processor."),
            "STATE_STORE_OPERATION_OUT_OF_ORDER": ("XXKST", "The state is used out of order: {errorMsg}"),
            "STATE_STORE_UNSUPPORTED_OPERATION": ("XXKST", "{operationType} is not supported on {entity}."),
            "STATE_STORE_UNSUPPORTED_OPERATION_BINARY_INEQUALITY": (
                "XXKST",
                "Keys of state must be equal exactly when their bytes are, which collations break: {schema}.",
            ),
        },
    ),
    **_family(
        "state",
        "CANNOT_LOAD_STATE_STORE",
        "58030",
        "The state cannot be loaded.",
        {
            "CANNOT_READ_CHECKPOINT": "Its checkpoint has version {actualVersion}, not {expectedVersion}.",
            "CANNOT_READ_DELTA_FILE_KEY_SIZE": "The delta {fileToRead} of {clazz} has a key of size {keySize}.",
            "CANNOT_READ_DELTA_FILE_NOT_EXISTS": (
                "The delta {fileToRead} of {clazz} is missing. Restore it, or start with a new checkpoint."
            ),
            "CANNOT_READ_MISSING_SNAPSHOT_FILE": (
                "The snapshot {fileToRead} of {clazz} is missing. Restore it, or start with a new checkpoint."
            ),
            "CANNOT_READ_SNAPSHOT_FILE_KEY_SIZE": "The snapshot {fileToRead} of {clazz} has a key of size {keySize}.",
            "CANNOT_READ_SNAPSHOT_FILE_VALUE_SIZE": (
                "The snapshot {fileToRead} of {clazz} has a value of size {valueSize}."
            ),
            "CANNOT_READ_STREAMING_STATE_FILE": (
                "The file {fileToRead} is damaged or gone. Restore it, or start with a new checkpoint."
            ),
            "KEY_ROW_FORMAT_VALIDATION_FAILURE": "The keys do not fit their schema: {msg}",
            "UNCATEGORIZED": "The cause says why.",
            "UNEXPECTED_FILE_SIZE": (
                "{dfsFile} copied to {localFile} should have {expectedSize} bytes, but has {localFileSize}."
            ),
            "UNEXPECTED_VERSION": "There is no version {version}: it must be 0 or greater.",
            "VALUE_ROW_FORMAT_VALIDATION_FAILURE": "The values do not fit their schema: {msg}",
        },
    ),
    **_family(
        "execution",
        "ILLEGAL_STATE_STORE_VALUE",
        "42601",
        "The value cannot be put into the state {stateName}.",
        {"EMPTY_LIST_VALUE": "The list is empty.", "NULL_VALUE": "It is None, or holds None."},
    ),
    **_rows(
        "execution",
        {
            "EMITTING_ROWS_OLDER_THAN_WATERMARK_NOT_ALLOWED": (
                "42815",
                "The processor emitted a row of time {emittedRowEventTime}, before the watermark {currentWatermark}.",
            ),
            "STATEFUL_PROCESSOR_CANNOT_PERFORM_OPERATION_WITH_INVALID_HANDLE_STATE": (
                "42802",
                "{operationType} is not possible here: the handle's state is {handleState}.",
            ),
            "STATEFUL_PROCESSOR_CANNOT_PERFORM_OPERATION_WITH_INVALID_TIME_MODE": (
                "42802",
                "{operationType} is not possible in the time mode {timeMode}.",
            ),
            "STATEFUL_PROCESSOR_DUPLICATE_STATE_VARIABLE_DEFINED": (
                "42802",
                "The state variable {stateVarName} is defined twice. Rename one.",
            ),
            "STATEFUL_PROCESSOR_INCORRECT_TIME_MODE_TO_ASSIGN_TTL": (
                "42802",
                "{stateName} can have a time to live in the mode ProcessingTime only, not in {timeMode}.",
            ),
            "STATEFUL_PROCESSOR_TTL_DURATION_MUST_BE_POSITIVE": (
                "42802",
                "The time to live of {stateName} in {operationType} must be positive.",
            ),
            "STATEFUL_PROCESSOR_UNKNOWN_TIME_MODE": (
                "42802",
                "There is no time mode {timeMode}. There are none, ProcessingTime and EventTime.",
            ),
        },
    ),
}

# ---------------------------------------------------------------------------------------------------------------------
# Spark Connect

_CONNECT = {
    **_family(
        "plan",
        "CONNECT_INVALID_PLAN",
        "56K00",
        "The client's plan is not valid.",
        {
            "ASSERTION_FAILURE": "{message}",
            "CANNOT_PARSE": "It cannot be read: {errorMsg}",
            "DATAFRAME_NOT_FOUND": "There is no frame {dfId} in the session {sessionId}.",
            "FIELD_CANNOT_BE_EMPTY": "The field {fieldName} of {fullName} is empty.",
            "FUNCTION_EVAL_TYPE_NOT_SUPPORTED": "The evaluation type {evalType} of a function is not supported.",
            "INVALID_ENUM": "{fullName} has the unknown value {name} ({number}).",
            "INVALID_ONE_OF_FIELD_NOT_SET": "Nothing is set in {name} of {fullName}.",
            "INVALID_ONE_OF_FIELD_NOT_SUPPORTED": "{name} of {fullName} has the unknown alternative {number}.",
            "MULTIPLE_PATHS_NOT_SUPPORTED_FOR_STREAMING_SOURCE": "A streaming source takes one path.",
            "STREAMING_QUERY_NOT_FOUND": "There is no streaming query {id}. It may have been stopped long ago.",
            "STREAMING_QUERY_RUN_ID_MISMATCH": "The query {id} runs as {serverRunId}, not as {runId}.",
            "UNION_BY_NAME_ALLOW_MISSING_COL_REQUIRES_BY_NAME": "allowMissingColumns needs a union by name.",
            "UNKNOWN_ANALYZE_METHOD": "There is no question {other}.",
            "UNRESOLVED_STAR_TARGET_INVALID": "{target} is not the target of a star; it must end with '.*'.",
            "UNSUPPORTED_LITERAL_TYPE": "Constants of type {typeInfo} are not supported.",
            "WITH_COLUMNS_REQUIRE_SINGLE_NAME_PART": "withColumns takes simple names, not {got}.",
        },
    ),
    **_family(
        "spark",
        "INVALID_HANDLE",
        "HY000",
        "The handle {handle} is not valid.",
        {
            "FORMAT": "It must be a UUID.",
            "OPERATION_ABANDONED": "The operation was given up, as nobody read its results.",
            "OPERATION_ALREADY_EXISTS": "There is an operation with it already.",
            "OPERATION_NOT_FOUND": "There is no such operation.",
            "SESSION_CHANGED": "The server was restarted. Make a new session.",
            "SESSION_CLOSED": "The session was closed. Make a new one.",
            "SESSION_NOT_FOUND": "There is no such session. Make a new one.",
        },
    ),
    **_family(
        "spark",
        "INVALID_CURSOR",
        "HY109",
        "The position in the results is not valid.",
        {
            "DISCONNECTED": "Another reader took over.",
            "NOT_REATTACHABLE": "The results of this operation can be read once.",
            "POSITION_NOT_AVAILABLE": "The response {responseId} at {index} is no longer held.",
            "POSITION_NOT_FOUND": "There is no response {responseId}.",
        },
    ),
}

# ---------------------------------------------------------------------------------------------------------------------
# What is not supported

_UNSUPPORTED = {
    **_family(
        "unsupported",
        "UNSUPPORTED_CALL",
        "0A000",
        "{className} has no {methodName}.",
        {"FIELD_INDEX": "The field is {fieldName}.", "WITHOUT_SUGGESTION": ""},
    ),
    **_family(
        "analysis",
        "UNSUPPORTED_FEATURE",
        "0A000",
        "This is not supported:",
        {
            "CATALOG_OPERATION": "{operation} in the catalog {catalogName}.",
            "LAMBDA_FUNCTION_WITH_PYTHON_UDF": "the Python function {funcName} in a lambda function.",
            "LATERAL_COLUMN_ALIAS_IN_AGGREGATE_FUNC": "the alias {lca} in the aggregate {aggFunc} of the same SELECT.",
            "LATERAL_COLUMN_ALIAS_IN_GENERATOR": "the alias {lca} in the generator {generatorExpr} of the same SELECT.",
            "LATERAL_COLUMN_ALIAS_IN_GROUP_BY": "an alias of the same SELECT in GROUP BY ALL.",
            "LATERAL_COLUMN_ALIAS_IN_WINDOW": "the alias {lca} in the window {windowExpr} of the same SELECT.",
            "LATERAL_JOIN_USING": "a lateral join with USING.",
            "LITERAL_TYPE": "a constant {value} of type {type}.",
            "PIVOT_AFTER_GROUP_BY": "PIVOT in one SELECT with GROUP BY. Put the latter into a subquery.",
            "PIVOT_TYPE": "the PIVOT value {value} of type {type}.",
            "PYTHON_UDF_IN_ON_CLAUSE": "a Python function in the condition of a {joinType} join.",
            "QUERY_ONLY_CORRUPT_RECORD_COLUMN": (
                "a query on JSON, CSV or XML that asks for the column of corrupt records alone. Cache it, or take more."
            ),
            "SET_OPERATION_ON_MAP_TYPE": "a set operation on the column {colName} of type {dataType}.",
            "STATE_STORE_MULTIPLE_COLUMN_FAMILIES": "several column families in {stateStoreProvider}.",
            "STATE_STORE_TTL": "a time to live in {stateStoreProvider}.",
            "STORE_BACKEND_NOT_SUPPORTED_FOR_TWS": (
                "transformWithState with {stateStoreProvider}. Set spark.sql.streaming.stateStore.providerClass "
                "to org.apache.spark.sql.execution.streaming.state.RocksDBStateStoreProvider."
            ),
            "TABLE_OPERATION": "{operation} on the table {tableName}.",
            "TIME_TRAVEL": "time travel on {relationId}.",
        },
    ),
}

# ---------------------------------------------------------------------------------------------------------------------
# Numbered conditions, which Spark has not named yet

_LEGACY = {
    **_rows(
        "analysis",
        {
            "_LEGACY_ERROR_TEMP_1018": (None, "{quoted} is a permanent view, which readStream cannot read."),
            "_LEGACY_ERROR_TEMP_1039": (
                None,
                "Several time or session windows in one place would multiply the rows. Keep one.",
            ),
            "_LEGACY_ERROR_TEMP_1040": (None, "The gap of a session window must be an interval, not {dt}."),
            "_LEGACY_ERROR_TEMP_1140": (
                None,
                "There is no data source {provider}: its client library is missing. Install it.",
            ),
            "_LEGACY_ERROR_TEMP_1181": (
                None,
                "Stream-stream join without equality predicate is not supported. Join on an equality, too.",
            ),
            "_LEGACY_ERROR_TEMP_1191": (None, "A stream cannot be written into the view {viewName}."),
            "_LEGACY_ERROR_TEMP_1194": (None, "queryName must be specified for memory sink: it names the table."),
            "_LEGACY_ERROR_TEMP_1195": (None, "{source} does not go with the continuous trigger."),
            "_LEGACY_ERROR_TEMP_1196": (
                None,
                "There is no {columnType} column {columnName} among the columns ({validColumnNames}).",
            ),
            "_LEGACY_ERROR_TEMP_1197": (None, "{operation} does not take partitionBy."),
            "_LEGACY_ERROR_TEMP_1295": (None, 'Say from which host to read: option("host", …).'),
            "_LEGACY_ERROR_TEMP_1298": (
                None,
                'The query needs a checkpointLocation: option("checkpointLocation", …), '
                'or spark.conf.set("spark.sql.streaming.checkpointLocation", …) for all queries.',
            ),
            "_LEGACY_ERROR_TEMP_1299": (
                None,
                "This query cannot go on from a checkpoint. Delete {checkpointPath} to start over.",
            ),
            "_LEGACY_ERROR_TEMP_3063": (
                None,
                "pivot on a stream needs the list of its values: pivot(column, values).",
            ),
            "_LEGACY_ERROR_TEMP_3067": (
                None,
                "A grouped-aggregate pandas function cannot run on a stream. Use applyInPandasWithState.",
            ),
            "_LEGACY_ERROR_TEMP_3068": (
                None,
                "session_window cannot be the only grouping key on a stream. Group by another column, too.",
            ),
            "_LEGACY_ERROR_TEMP_3076": (
                None,
                "Redefining watermark is disallowed: set it once. The config '{config}', set to 'false', allows it, "
                "but then a query can have one stateful operator only.",
            ),
            "_LEGACY_ERROR_TEMP_3077": (
                None,
                "A stream may have one event time column, but has {eventTimeCols}. Drop the others.",
            ),
            "_LEGACY_ERROR_TEMP_3080": (None, "{msg}"),
            "_LEGACY_ERROR_TEMP_3102": (None, "{msg}"),
        },
    ),
    **_rows(
        "argument",
        {
            "_LEGACY_ERROR_TEMP_2047": (None, "The option 'path' is missing."),
            "_LEGACY_ERROR_TEMP_2048": (
                None,
                "A streaming file source needs a schema. Give one with schema(), take it from a batch read of the same "
                "directory (spark.read…schema), or set spark.sql.streaming.schemaInference to true.",
            ),
            "_LEGACY_ERROR_TEMP_3231": (None, "An interval cannot be longer than a month: {interval}."),
            "_LEGACY_ERROR_TEMP_3262": (
                None,
                "Months and years have no fixed length, so {interval} cannot be used here.",
            ),
        },
    ),
    **_rows(
        "unsupported",
        {
            "_LEGACY_ERROR_TEMP_2242": (None, "The source {provider} has a schema of its own. Leave out schema()."),
            "_LEGACY_ERROR_TEMP_2261": (
                None,
                "The option cleanSource does not go with the output directory of a streaming file sink.",
            ),
            "_LEGACY_ERROR_TEMP_3176": (
                None,
                "applyInPandasWithState is unsupported in batch query. Use applyInPandas instead.",
            ),
        },
    ),
    **_rows("state", {"_LEGACY_ERROR_TEMP_2207": (None, "Several streaming queries use {path} at the same time.")}),
}

# ---------------------------------------------------------------------------------------------------------------------
# Conditions of Runnel's own, where Spark raises something without a condition or has nothing like it

RUNNEL_CONDITIONS: Mapping[str, Condition] = {
    "CACHED_RELATION_NOT_FOUND": Condition(
        "analysis", "42704", "The frame {relationId} is not held by this session any more. Make it again."
    ),
    **_rows(
        "python",  # PySpark raises these two inside the Python worker
        {
            "INVALID_TIMEOUT_TIMESTAMP": (
                None,
                "The timeout {timestamp} is not after the current watermark {watermark}.",
            ),
            "SIMPLE_STREAM_READER_OFFSET_DID_NOT_ADVANCE": (
                None,
                "The reader gave rows, but its end offset is the start offset {start_offset}. It must advance.",
            ),
        },
    ),
    **_rows(
        "state",
        {
            "STREAMING_SOURCES_CHANGED": (
                "42K03",
                "The checkpoint {path} was made with {checkpointed} sources, and the query has {current}. "
                "Undo the change, or start with a new checkpoint.",
            ),
            "STREAMING_QUERY_ALREADY_ACTIVE": (
                "40000",
                "The query {id} is running already. Stop it before it is started again from its checkpoint.",
            ),
            "CHECKPOINT_OFFSETS_MISSING": (
                "42K03",
                "The offset log of the checkpoint {checkpointLocation} lacks batch {batchId}. "
                "Restore it, or start with a new checkpoint.",
            ),
            "CONCURRENT_CHECKPOINT_USE": (
                "40000",
                "The checkpoint {checkpointLocation} is in use by {holder}. "
                "Stop that query, or give each query a checkpoint of its own.",
            ),
            "INCOMPLETE_LOG_FILE": (
                "KD002",
                "Incomplete log file {path}: it ends too early. Restore it, or start with a new checkpoint.",
            ),
            "MISSING_LOG_FILE": (
                "KD002",
                "The log file {path} of batch {batchId} is missing. Restore it, or start with a new checkpoint.",
            ),
        },
    ),
    **_rows(
        "unsupported",
        {"UNSUPPORTED_FEATURE.NOT_IN_RUNNEL": ("0A000", "{feature} is not supported by Runnel.{hint}")},
    ),
    **_rows(
        "argument",
        {
            "_LEGACY_ERROR_TEMP_NEGATIVE_TRIGGER": (
                None,
                "The interval of a trigger must not be negative: {interval}.",
            ),
            "STREAMING_QUERY_NAME_IN_USE": (
                "42710",
                "A query named {name} is active already. Stop it, or choose another name.",
            ),
            "INVALID_SOURCE_OPTION": (None, "The option {option} of the source is {value}; it should be {expected}."),
            "CONSOLE_SINK_OPTION": (
                None,
                "The option {option} of the console sink is {value}; it should be {expected}.",
            ),
            "INVALID_SOCKET_PORT": (None, "The port of the socket source is {port}; it should be a number."),
            "INVALID_QUERY_ID": (None, "Invalid UUID string: {id}"),
            "INVALID_CONF_VALUE.TIME_STRING": ("22022", "{value} is no duration. Write it as in 10s or 500ms."),
            "INVALID_CONF_VALUE.TYPE": ("22022", "{confName} should be {expected}, but was {confValue}."),
        },
    ),
    **_family(
        "plan",
        "CONNECT_INVALID_PLAN",
        "56K00",
        "The client's plan is not valid.",
        {
            "AGGREGATE_GROUP_TYPE_NOT_SET": "The kind of a grouping is missing.",
            "EXPRESSION_TYPE_NOT_SET": "An expression is empty.",
            "JOIN_TYPE_NOT_SET": "The kind of a join is missing.",
            "LOCAL_RELATION_WITHOUT_SCHEMA": "Local rows come without data and without a schema.",
            "PLAN_IS_NOT_A_RELATION": "It must be a relation, not a command.",
            "PLAN_OP_TYPE_NOT_SET": "It is neither a relation nor a command.",
            "RELATION_TYPE_NOT_SET": "A relation is empty.",
            "SET_OP_TYPE_NOT_SET": "The kind of a set operation is missing.",
            "SUBQUERY_PLAN_NOT_FOUND": "The plan {planId} of a subquery is missing.",
            "WINDOW_FRAME_BOUNDARY_NOT_SET": "A bound of a window frame is missing.",
        },
    ),
}

_PLANS_AND_CONNECTORS: Mapping[str, Condition] = {
    **_rows(
        "analysis",
        {
            "GROUP_EXPRESSION_TYPE_IS_NOT_ORDERABLE": (
                "42822",
                "Rows cannot be grouped by {sqlExpr}: values of type {dataType} have no order.",
            ),
            "GROUPING_COLUMN_MISMATCH": (
                "42803",
                "The column {grouping} of grouping() is not among the grouping columns {groupingColumns}.",
            ),
            "GROUPING_ID_COLUMN_MISMATCH": (
                "42803",
                "The columns {groupingIdColumn} of grouping_id() are not the grouping columns {groupByColumns}.",
            ),
            "UNSUPPORTED_GROUPING_EXPRESSION": (
                "42K0E",
                "grouping() and grouping_id() go with cube, rollup and grouping sets only.",
            ),
            "CANNOT_RESOLVE_DATAFRAME_COLUMN": (
                "42704",
                "The column {name} is of a frame that is no part of this one. Take the column from this frame.",
            ),
            "AMBIGUOUS_COLUMN_REFERENCE": (
                "42702",
                "The column {name} is of a frame that is in here more than once. Give the frames aliases first.",
            ),
            "NAMED_PARAMETERS_NOT_SUPPORTED": ("4274K", "The function {functionName} takes no arguments by name."),
            "MULTI_ALIAS_WITHOUT_GENERATOR": (
                "42K0E",
                "Only a generator can be given several names ({names}); {expr} is none.",
            ),
            "UNRESOLVED_COLUMN_AMONG_FIELD_NAMES": ("42703", "There is no column {colName} among {fieldNames}."),
            "UDTF_ALIAS_NUMBER_MISMATCH": (
                "42802",
                "The generator gives {aliasesSize} columns, the names given are {aliasesNames}.",
            ),
            "UNRESOLVABLE_TABLE_VALUED_FUNCTION": ("42883", "There is no table-valued function {name}."),
            "PARSE_INPUT_NOT_STRING_TYPE": (
                "42K09",
                "Only a frame with one column of strings can be read as {format}.",
            ),
            "NULLABLE_COLUMN_OR_FIELD": (
                "42000",
                "The column {name} can be null, and the schema says that it must not be.",
            ),
            "UNPIVOT_REQUIRES_ATTRIBUTES": (
                "42K0A",
                "unpivot takes plain columns as {given} columns where there are no {empty} columns: {expressions}.",
            ),
            "PARSE_MODE_UNSUPPORTED": (
                "42601",
                "The function {funcName} does not take the mode {mode}. Use PERMISSIVE or FAILFAST.",
            ),
            "ALL_PARTITION_COLUMNS_NOT_ALLOWED": (
                "KD005",
                "Not every column can be a partition column: some must be left for the files.",
            ),
            "_LEGACY_ERROR_TEMP_1006": (None, "The pivot needs aggregate functions, and {sql} is none."),
            "_LEGACY_ERROR_TEMP_1037": (None, "{wf} is no window function, and cannot be used with OVER."),
            "_LEGACY_ERROR_TEMP_1050": (None, "Only a struct column can be expanded by a star: {attributes}."),
            "_LEGACY_ERROR_TEMP_1207": (None, "The duration and the times of a window are literals."),
            "_LEGACY_ERROR_TEMP_1296": (None, 'Say from which port to read: option("port", …).'),
            "_LEGACY_ERROR_TEMP_1313": (None, "{operation} does not go with bucketBy."),
            "_LEGACY_ERROR_TEMP_TEXT_SCHEMA": (
                None,
                "The text format writes one column of strings; this frame has {schema}.",
            ),
        },
    ),
    **_rows(
        "execution",
        {
            "OPTION_VALUE_EXCEEDS_ONE_CHARACTER": (
                "22023",
                "The value of the option {paramName} must be one character, not {value}.",
            ),
        },
    ),
    **_rows(
        "argument",
        {
            "CODEC_NOT_AVAILABLE.WITH_AVAILABLE_CODECS_SUGGESTION": (
                "56038",
                "The codec {codecName} is not available. There are: {availableCodecs}.",
            ),
        },
    ),
    **_rows(
        "spark",
        {
            "CONFLICTING_PARTITION_COLUMN_NAMES": (
                "KD009",
                "The partition folders disagree on the names of their columns:{distinctPartColLists}\n"
                "Look at these folders:{suspiciousPaths}",
            ),
            "CONTINUOUS_TRIGGER_SINK": (
                None,
                "The {sink} sink does not know the continuous trigger. Use processingTime, or another sink.",
            ),
            "SOCKET_SOURCE_CANNOT_CONNECT": (
                None,
                "Nothing answers at {host}:{port} ({reason}). Start the server first, for instance: nc -lk {port}",
            ),
            "SOCKET_SOURCE_CONNECTION_LOST": (None, "The connection to {host}:{port} was lost: {reason}."),
        },
    ),
}

CONDITIONS: Mapping[str, Condition] = {
    **_PLANS_AND_CONNECTORS,
    **_GENERAL,
    **_NAMES,
    **_TYPES,
    **_PARSE,
    **_VALUES,
    **_SOURCES,
    **_STREAMING_PLAN,
    **_STREAMING_RUN,
    **_CONNECT,
    **_UNSUPPORTED,
    **_LEGACY,
    **RUNNEL_CONDITIONS,
}
"""Every condition, by name."""
