"""The Celery shell: `celery -A runware_jobs.worker worker`.

Tasks here carry what is asked for now: a wake with a step's name, or a job from a
producer that only has a broker. What is due is the clock's (`clock.py`), on one
event loop per process (`loop.py`). No message is held while a remote task runs.
"""

from __future__ import annotations

from .app import app
from .tasks import archive, deliver, rescue, run, submit, training, upload

__all__ = ["app", "archive", "deliver", "rescue", "run", "submit", "training", "upload"]
