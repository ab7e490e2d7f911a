"""`python -m tests.chaos`: see `many`."""

from __future__ import annotations

import os
import sys

from tests.chaos.many import main

if __name__ == "__main__":
    sys.exit(main(os.environ))
