"""Logging: one line an event, with journald's priorities under systemd, and no secret in it."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Collection

from gateway.config.redact import Redaction

_PRIORITIES = {logging.DEBUG: 7, logging.INFO: 6, logging.WARNING: 4, logging.ERROR: 3, logging.CRITICAL: 2}


class _JournalFormatter(logging.Formatter):
    """<N> in front of each line, which journald takes for its priority."""

    def format(self, record: logging.LogRecord) -> str:
        text = super().format(record).replace("\n", "\n  ")
        return f"<{_PRIORITIES.get(record.levelno, 6)}>{text}"


def set_up(secrets: Collection[str], level: int = logging.INFO) -> None:
    """Log to standard error; `secrets` are blacked out wherever they appear."""
    handler = logging.StreamHandler(sys.stderr)
    if os.environ.get("JOURNAL_STREAM"):
        handler.setFormatter(_JournalFormatter("%(name)s: %(message)s"))
    else:
        handler.setFormatter(logging.Formatter("%(levelname)s %(name)s: %(message)s"))
    handler.addFilter(Redaction(secrets))
    logging.basicConfig(level=level, handlers=[handler], force=True)
