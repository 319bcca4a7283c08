"""How the static check says what it finds."""

from __future__ import annotations

from gateway.scripts.messages import Finding, escaped

LONGEST = 300
"""Characters of a message or a remedy, so that 20 findings fit into one frame."""


def error(line: int, column: int, message: str, remedy: str) -> Finding:
    """A fault with which the script is not loaded."""
    return Finding(line, column, escaped(message, LONGEST), escaped(remedy, LONGEST), "error")


def warning(line: int, column: int, message: str, remedy: str) -> Finding:
    """A fault with which it is."""
    return Finding(line, column, escaped(message, LONGEST), escaped(remedy, LONGEST), "warning")


def order(finding: Finding) -> tuple[int, int, str, str]:
    """Sorts findings by place, errors before warnings."""
    return finding.line, finding.column, finding.severity, finding.message
