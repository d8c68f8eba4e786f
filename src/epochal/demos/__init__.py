"""Real trainings on real data that `epochal demo` records: the tables, two small networks, and the loop."""

from epochal.demos.tables import TABLES, Table, load_csv, load_table
from epochal.demos.training import Progress, TableDemo, Trained, train

__all__ = ["TABLES", "Progress", "Table", "TableDemo", "Trained", "load_csv", "load_table", "train"]
