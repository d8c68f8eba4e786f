"""What holds for all tests, and for the processes that they start."""

from __future__ import annotations

import os

# Numbers of the machine would come to some series lists and not to others, as slow as the machine happens to be.
# Tests of what is recorded by default take this away again.
os.environ.setdefault("EPOCHAL_SYSTEM", "0")
