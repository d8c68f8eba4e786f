"""What the lens costs beside the bare network: `python -m bench.lens.run [--quick]`."""

from __future__ import annotations

import sys

from bench.lens.attributing import attributing
from bench.lens.films import films
from bench.lens.seeing import seeing
from bench.table import show


def main() -> int:
    quick = "--quick" in sys.argv[1:]
    rows = attributing(quick=quick) + seeing(quick=quick) + films(quick=quick)
    show("The lens", rows)
    return 0


if __name__ == "__main__":
    sys.exit(main())
