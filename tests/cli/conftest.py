from __future__ import annotations

from tests.workspace.recording import recorded, running

__all__ = ["recorded", "running"]
