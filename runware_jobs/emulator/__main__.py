"""`python -m runware_jobs.emulator`."""

import sys

from .cli import main

sys.exit(main())
