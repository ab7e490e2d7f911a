"""SAQ with the SDK: `saq with_saq.settings`, and `python with_saq.py TASKS.json` to enqueue.

As its guide has it: async functions, one client from the startup hook, `concurrency` jobs at once. A job
that a killed worker has left is swept back into the queue after its timeout.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

from generating import Generator
from redis import asyncio as redis
from saq.queue.redis import RedisQueue

# Its default of 10 s would cancel videos. Twice: so that what a killed worker has left runs again.
_TIMEOUT_S = int(os.environ.get("BENCH_TIMEOUT_S", "60"))
_TRIES = 2

# Its from_url takes no unix socket.
queue = RedisQueue(redis.from_url(os.environ["BENCH_REDIS"]))


async def generate(ctx: dict[str, Any], *, number: int, task: dict[str, Any]) -> list[dict[str, Any]]:
    """Run one task; what it gives is kept in Redis."""
    return await ctx["generator"].generate(number, task)


async def startup(ctx: dict[str, Any]) -> None:
    """Open the client."""
    ctx["generator"] = Generator()
    await ctx["generator"].open()
    print("bench ready", flush=True)


async def shutdown(ctx: dict[str, Any]) -> None:
    """Close it."""
    await ctx["generator"].close()


settings = {
    "queue": queue,
    "functions": [generate],
    "concurrency": int(os.environ.get("BENCH_AT_ONCE", "500")),
    "startup": startup,
    "shutdown": shutdown,
}


async def enqueue(tasks: list[dict[str, Any]]) -> None:
    """Enqueue every task, some hundred at once."""
    await queue.connect()
    print(json.dumps({"began_at": time.time()}), flush=True)
    for start in range(0, len(tasks), 200):
        await asyncio.gather(
            *(
                queue.enqueue("generate", number=start + place, task=task, timeout=_TIMEOUT_S, retries=_TRIES)
                for place, task in enumerate(tasks[start : start + 200])
            )
        )
    await queue.disconnect()


if __name__ == "__main__":
    asyncio.run(enqueue(json.loads(Path(sys.argv[1]).read_text())))
