"""Run every benchmark, one process each, so that none warms up or burdens the next: `python -m bench [name ...]`."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent


def main() -> int:
    """Run `bench/<name>/run.py` for each name given, all by default; answer how many failed."""
    names = sys.argv[1:] or sorted(p.parent.name for p in HERE.glob("*/run.py"))
    failed = [n for n in names if subprocess.run([sys.executable, "-m", f"bench.{n}.run"], cwd=HERE.parent).returncode]
    if failed:
        sys.stderr.write(f"failed: {', '.join(failed)}\n")
    return len(failed)


if __name__ == "__main__":
    sys.exit(main())
