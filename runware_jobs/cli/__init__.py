"""The command line `runware-jobs`: the queue in a terminal, and what it takes to run one.

Modules are light to import: what needs the database, Celery or the web loads it
inside the command that uses it, so that `--help` and a wrong flag answer at once.

    app ─▶ producing (run, upload, train)   job_commands   batch_commands   download
        ─▶ webhook_commands   key_commands   account_commands   doctor
        ─▶ serving (worker, api, emulator, migrate)   up (up, down)   demo/
"""

from .app import main

__all__ = ["main"]
