"""Function calls keep the name and the arguments that the user wrote."""

from __future__ import annotations

from decimal import Decimal

import pytest

from runnel.errors import UnsupportedOperationError
from runnel.plan.expressions import Expression, SortOrder, UnresolvedFunction, UnresolvedStar
from runnel.sql import parse_expression
from runnel.sql.cursor import words
from tests.sql.builders import c, f, lit, named

A, B, X = c("a"), c("b"), c("x")
ONE, TWO, THREE = lit(1), lit(2), lit(3)

NAMES = sorted(words("""
abs acos add_months aggregate any any_value approx_count_distinct approx_percentile array array_agg array_append
array_compact array_contains array_distinct array_except array_insert array_intersect array_join array_max array_min
array_position array_prepend array_remove array_repeat array_size array_sort array_union arrays_overlap arrays_zip
ascii asin assert_true atan atan2 avg base64 bigint bin binary bit_and bit_count bit_get bit_length bit_or bit_xor
bool_and bool_or boolean bround btrim cardinality cbrt ceil ceiling char char_length character_length chr coalesce
collect_list collect_set concat concat_ws contains conv convert_timezone corr cos cosh cot count count_if
count_min_sketch covar_pop covar_samp crc32 csc cume_dist curdate current_catalog current_database current_date
current_timestamp current_timezone current_user date date_add date_diff date_format date_from_unix_date date_part
date_sub date_trunc dateadd datediff datepart day dayname dayofmonth dayofweek dayofyear decimal decode degrees
dense_rank double e element_at elt encode endswith equal_null every exp explode explode_outer expm1 extract factorial
filter find_in_set first first_value flatten float floor forall format_number format_string from_csv from_json
from_unixtime from_utc_timestamp get get_json_object getbit greatest grouping grouping_id hash hex histogram_numeric
hour hypot if ifnull ilike initcap inline inline_outer instr int isnan isnotnull isnull json_array_length
json_object_keys json_tuple kurtosis lag last last_day last_value lcase lead least left length levenshtein like
listagg ln localtimestamp locate log log10 log1p log2 lower lpad ltrim luhn_check make_date make_dt_interval
make_interval make_timestamp make_ym_interval map map_concat map_contains_key map_entries map_filter map_from_arrays
map_from_entries map_keys map_values map_zip_with mask max max_by md5 mean median min min_by minute mod mode
monotonically_increasing_id month monthname months_between named_struct nanvl negative next_day now nth_value ntile
nullif nullifzero nvl nvl2 octet_length overlay parse_url percent_rank percentile percentile_approx percentile_cont
percentile_disc pi pmod posexplode posexplode_outer position positive pow power printf quarter radians raise_error
rand randn random range rank reduce regexp regexp_count regexp_extract regexp_extract_all regexp_instr regexp_like
regexp_replace regexp_substr regr_avgx regr_count repeat replace reverse right rint rlike round row_number rpad rtrim
schema_of_json sec second sentences sequence session_user session_window sha sha1 sha2 shiftleft shiftright
shiftrightunsigned shuffle sign signum sin sinh size skewness slice smallint some sort_array soundex space
spark_partition_id split split_part sqrt stack startswith std stddev stddev_pop stddev_samp str_to_map string
string_agg struct substr substring substring_index sum tan tanh timestamp timestamp_micros timestamp_millis
timestamp_ntz timestamp_seconds tinyint to_char to_csv to_date to_json to_number to_timestamp to_timestamp_ltz
to_timestamp_ntz to_unix_timestamp to_utc_timestamp to_varchar transform transform_keys transform_values translate
trim trunc try_add try_divide try_element_at try_multiply try_subtract try_sum try_to_number try_to_timestamp typeof
ucase unbase64 unhex unix_date unix_micros unix_millis unix_seconds unix_timestamp upper url_decode url_encode user
uuid var_pop var_samp variance version weekday weekofyear width_bucket window window_time xpath xxhash64 year zip_with
my_own_function
"""))  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("args", [(), (A,), (A, lit("x")), (A, lit("x"), lit(3))])
def test_name_and_arguments_survive(name: str, args: tuple[Expression, ...]) -> None:
    texts = ("a", "'x'", "3")[: len(args)]
    expected = UnresolvedFunction(name, args)
    assert parse_expression(f"{name}({', '.join(texts)})") == expected
    assert parse_expression(f"{name.upper()} ( {', '.join(texts)} )") == expected
    assert parse_expression(f"1 + {name}({', '.join(texts)}).x") == f(
        "+", ONE, parse_expression(f"{name}({', '.join(texts)}).x")
    )


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("count(*)", f("count", ONE)),
        ("count(t.*)", f("count", UnresolvedStar(("t",)))),
        ("count(distinct a, b)", f("count", A, B, distinct=True)),
        ("count(distinct *)", f("count", UnresolvedStar(), distinct=True)),
        ("count(all a)", f("count", A)),
        ("sum(a) filter (where b > 1)", f("sum", A, filter=f(">", B, ONE))),
        ("first(a ignore nulls)", f("first", A, ignore_nulls=True)),
        ("first(a) ignore nulls", f("first", A, ignore_nulls=True)),
        ("last(a) respect nulls", f("last", A, ignore_nulls=False)),
        ("first(a, true)", f("first", A, lit(True))),
        ("percentile_cont(0.5) within group (order by a desc)",
         f("percentile_cont", lit(Decimal("0.5")), SortOrder(A, False, False))),
        ("listagg(a, ',') within group (order by b)", f("listagg", A, lit(","), SortOrder(B))),
        ("struct(a, b as x)", f("struct", A, named(B, "x"))),
        ("extract(year from a)", f("extract", lit("year"), A)),
        ("position('a' in b)", f("locate", lit("a"), B, ONE)),
        ("substring(a from 2)", f("substring", A, TWO)),
        ("substring(a from 2 for 3)", f("substring", A, TWO, THREE)),
        ("substr(a from 2 for 3)", f("substring", A, TWO, THREE)),
        ("overlay(a placing b from 1)", f("overlay", A, B, ONE)),
        ("overlay(a placing b from 1 for 2)", f("overlay", A, B, ONE, TWO)),
        ("trim(both from a)", f("trim", A)),
        ("trim(leading from a)", f("ltrim", A)),
        ("trim(leading 'x' from a)", f("ltrim", lit("x"), A)),
        ("trim(trailing 'x' from a)", f("rtrim", lit("x"), A)),
        ("trim('x' from a)", f("trim", lit("x"), A)),
        ("trim(both)", f("trim", c("both"))),
        ("timestampadd(minute, 5, a)", f("timestampadd", lit("minute"), lit(5), A)),
        ("dateadd(day, 5, a)", f("timestampadd", lit("day"), lit(5), A)),
        ("timestampdiff(HOUR, a, b)", f("timestampdiff", lit("HOUR"), A, B)),
        ("datediff(day, a, b)", f("timestampdiff", lit("day"), A, B)),
        ("date_add(day, 1)", f("date_add", c("day"), ONE)),
        ("datediff(day, b)", f("datediff", c("day"), B)),
        ("current_timestamp", c("current_timestamp")),
        ("current_timestamp()", f("current_timestamp")),
        ("db.f(a)", f("db.f", A)),
        ("`F`(a)", f("f", A)),
        ("system.builtin.abs(a)", f("abs", A)),
        ("left(a, 1)", f("left", A, ONE)),
        ("if(a, 1, 2)", f("if", A, ONE, TWO)),
        ("case when f(end) then 1 end", f("when", f("f", c("end")), ONE)),
    ],
)  # fmt: skip
def test_special_syntax(text: str, expected: Expression) -> None:
    assert parse_expression(text) == expected


def test_table_arguments_are_refused() -> None:
    with pytest.raises(UnsupportedOperationError):
        parse_expression("f(table(t))")
