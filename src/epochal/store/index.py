"""The viewer's cache of all runs' facts in one SQLite file: never the truth, thrown away whenever it does not fit."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterable, Mapping
from pathlib import Path

__all__ = ["INDEX_VERSION", "Index"]

INDEX_VERSION = 1
WAIT_SECS = 0.05


class Index:
    """Rows by key: a stamp that says which state of the files it was made from, and two blobs.

    Every failure of the file (locked, damaged, read-only folder) only means that less is cached.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def load(self) -> dict[str, tuple[str, bytes, bytes]]:
        """Return all rows; none when there is no usable file."""
        if not self.path.exists():
            return {}
        try:
            with contextlib.closing(self._open()) as db:
                if db.execute("PRAGMA user_version").fetchone()[0] != INDEX_VERSION:
                    raise sqlite3.DatabaseError("another version")
                return {key: (stamp, info, series) for key, stamp, info, series in db.execute("SELECT * FROM runs")}
        except sqlite3.OperationalError:  # locked just now, or a folder without write permission
            return {}
        except sqlite3.Error:
            with contextlib.suppress(OSError):
                self.path.unlink()
            return {}

    def save(self, rows: Mapping[str, tuple[str, bytes, bytes]], gone: Iterable[str]) -> None:
        """Keep rows and forget others."""
        try:
            with contextlib.closing(self._open()) as db, db:
                db.execute(f"PRAGMA user_version = {INDEX_VERSION}")
                db.execute("CREATE TABLE IF NOT EXISTS runs (key TEXT PRIMARY KEY, stamp TEXT, info BLOB, series BLOB)")
                db.executemany("DELETE FROM runs WHERE key = ?", [(key,) for key in gone])
                db.executemany("INSERT OR REPLACE INTO runs VALUES (?, ?, ?, ?)", [(k, *v) for k, v in rows.items()])
        except sqlite3.Error:
            return

    def _open(self) -> sqlite3.Connection:
        db = sqlite3.connect(self.path, timeout=WAIT_SECS)
        # A cache that a power cut may destroy: it is rebuilt.
        db.execute("PRAGMA synchronous = OFF")
        db.execute("PRAGMA journal_mode = MEMORY")
        return db
