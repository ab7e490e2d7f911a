"""`python -m runware_jobs`: the command line, where its script is not on PATH."""

from runware_jobs.cli import main

main()
