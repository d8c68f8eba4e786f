"""Real trainings on real data that `epochal demo` records: tables and digits, two small networks, and the loop."""

from epochal.demos.tables import TABLES, Table, load_csv, load_table
from epochal.demos.training import DEFAULTS, Material, Progress, TableDemo, Trained, train

__all__ = [
    "DEFAULTS",
    "TABLES",
    "Material",
    "Progress",
    "Table",
    "TableDemo",
    "Trained",
    "load_csv",
    "load_table",
    "train",
]
