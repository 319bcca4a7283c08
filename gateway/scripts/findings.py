"""What the static check finds: values, in the order of a script's lines."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal


@dataclass(frozen=True, slots=True)
class Finding:
    """One fault of a script. `line` and `column` count from 1, columns in characters."""

    line: int
    column: int
    message: str
    remedy: str
    severity: Literal["error", "warning"]

    def __str__(self) -> str:
        return f"{self.message}: {self.remedy} (line {self.line})"

    def at_column(self, column: int) -> Finding:
        """The same, elsewhere in its line."""
        return replace(self, column=column)


def error(line: int, column: int, message: str, remedy: str) -> Finding:
    """A fault with which the script is not loaded."""
    return Finding(line, column, message, remedy, "error")


def warning(line: int, column: int, message: str, remedy: str) -> Finding:
    """A fault with which it is."""
    return Finding(line, column, message, remedy, "warning")


def order(finding: Finding) -> tuple[int, int, str, str]:
    """Sorts findings by place, errors before warnings."""
    return finding.line, finding.column, finding.severity, finding.message
