"""The HTTP API: jobs, batches, webhook endpoints, live events, health and a dashboard.

Stands on `runware_jobs.producer` and decides nothing about jobs. It opens no path
and fetches no address that came in a request.

    request ─▶ problems ─▶ access ─▶ body limit ─▶ one route file per resource ─▶ Producer
"""

from .app import create_app
from .serving import serve

__all__ = ["create_app", "serve"]
