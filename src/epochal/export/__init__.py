"""What was recorded, as files: pictures, films, tables, and a report that is the whole Studio in one file."""

from epochal.export.choose import choose_layers, choose_steps
from epochal.export.job import FORMATS, WHAT, Written
from epochal.export.write import write

__all__ = ["FORMATS", "WHAT", "Written", "choose_layers", "choose_steps", "write"]
