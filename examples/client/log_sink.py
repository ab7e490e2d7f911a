"""Send what the client does to a place of your own. Keys and media are masked before they get there."""

import asyncio

from runware_jobs.client import LogEntry, Runware


def sink(entry: LogEntry) -> None:
    print(f"{entry.timestamp:%H:%M:%S}", entry.category, entry.message, entry.data or "")


async def main() -> None:
    async with Runware(debug=True, log_sink=sink) as client:
        await client.run({"model": "runware:400@1", "positivePrompt": "A kite", "width": 512, "height": 512})


asyncio.run(main())
