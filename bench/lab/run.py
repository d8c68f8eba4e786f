"""What labs cost: trials beside the same trainings alone, 3-D MNIST and its recorder, and opening a thousand trials."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parents[2]


def main() -> int:
    """Run each in a process of its own; answer how many failed."""
    names = ("running", "volumes", "reading")
    return sum(
        bool(subprocess.run([sys.executable, "-m", f"bench.lab.{name}"], cwd=HERE, check=False).returncode)
        for name in names
    )


if __name__ == "__main__":
    sys.exit(main())
