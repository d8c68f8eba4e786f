"""The reading side: open a folder of runs, take one, ask it for tables, films and networks."""

from epochal.workspace.reader import RunReader
from epochal.workspace.workspace import Workspace, open  # noqa: A004 - users say epochal.open

__all__ = ["RunReader", "Workspace", "open"]
