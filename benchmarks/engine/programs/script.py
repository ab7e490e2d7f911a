"""A plain asyncio script with the SDK, so many tasks at once; the file of known results is all it keeps.

Started again it does what is not in that file, as a careful script would.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

from generating import Generator, known_numbers


async def main(tasks: list[dict[str, Any]]) -> None:
    """Do every task that is not known yet."""
    places = asyncio.Semaphore(int(os.environ.get("BENCH_AT_ONCE", "500")))
    generator = Generator()
    await generator.open()
    print("bench ready", flush=True)
    await asyncio.to_thread(sys.stdin.readline)
    print(json.dumps({"began_at": time.time()}), flush=True)
    known = known_numbers()

    async def one(number: int, task: dict[str, Any]) -> None:
        async with places:
            await generator.generate(number, task)

    await asyncio.gather(*(one(number, task) for number, task in enumerate(tasks) if number not in known))
    await generator.close()
    # Whoever measures reads our CPU time first.
    await asyncio.to_thread(sys.stdin.readline)


if __name__ == "__main__":
    asyncio.run(main(json.loads(Path(sys.argv[1]).read_text())))
