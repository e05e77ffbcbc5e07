"""The syntax of interval literals."""

from __future__ import annotations

from runnel.errors import ParseError
from runnel.plan.expressions import Literal
from runnel.sql import literals
from runnel.sql.cursor import NUMBER, STRING, Cursor


class IntervalParser(Cursor):
    """Numbers with a leading point, and intervals."""

    def _leading_dot(self, distance: int = 0) -> bool:
        """Whether `.5` begins at the token at `distance`."""
        return self.key_at(distance) == "." and self.key_at(distance + 1) == NUMBER and self.adjacent(distance)

    def interval(self) -> Literal:
        """`INTERVAL 1 DAY 2 HOURS`, `INTERVAL '1 day'`, `INTERVAL '1-2' YEAR TO MONTH`."""
        start = self.index
        self.expect("INTERVAL")
        try:
            return self._interval_body()
        except ParseError as error:
            if error.context is not None:
                raise
            if error.condition == "_LEGACY_ERROR_TEMP_0029":
                raise self.fail_at(start, error.condition, literal=self.source(start)) from None
            raise self.fail_at(start, error.condition, **error.message_parameters) from None

    def _interval_body(self) -> Literal:
        terms: list[str] = []
        while self.key in ("-", "+", NUMBER, STRING) or self._leading_dot():
            sign = self.advance().text if self.key in ("-", "+") else ""
            quoted = self.key == STRING
            if quoted:
                text = self.string()
            else:
                dot = "." if self.accept(".") else ""
                text = dot + self.advance().text
            unit = self.key
            if not literals.is_unit(unit):
                if quoted and not terms and not sign:
                    return literals.interval(text)
                raise self.fail()
            self.advance()
            if not terms and quoted and self.at("TO") and literals.is_unit(self.next_key):
                self.advance()
                last = self.advance().text.upper().removesuffix("S")
                body = f"-{text.strip()}" if sign == "-" else text
                return literals.interval_range(_unsigned_twice(body), unit.removesuffix("S"), last)
            text = text.strip()
            value = _unsigned_twice(f"-{text}") if sign == "-" else text
            terms.append(f"{value} {unit.lower()}")
            if not (self.key in ("-", "+", NUMBER, STRING) and self._unit_follows()):
                break
        return literals.interval(" ".join(terms))

    def _unit_follows(self) -> bool:
        distance = 1 if self.key in (NUMBER, STRING) else 2
        if distance == 2:
            return False
        return literals.is_unit(self.key_at(distance))


def _unsigned_twice(text: str) -> str:
    """A value with two signs in front (`-'-1'`) with one."""
    return text[2:] if text.startswith("--") else text.replace("-+", "-", 1) if text.startswith("-+") else text
