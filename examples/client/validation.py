"""Find all mistakes before anything is sent."""

import asyncio

from runware_jobs.client import RunOptions, Runware, RunwareError, clear_validator_cache

MISTAKEN = {
    "model": "runware:400@1",
    "positivePrompt": "A landscape",
    "width": "wide",
    "height": 1024,
    "outputFormat": "BMP",
}


async def main() -> None:
    async with Runware(validate=True) as client:
        try:
            await client.run(MISTAKEN)
        except RunwareError as exc:
            for problem in exc.validation_errors or ():
                print(problem["path"], problem["rule"], problem["message"])

        try:
            await client.run(MISTAKEN, RunOptions(validate=False))
        except RunwareError as exc:
            print("the platform says:", exc.parameter)

    clear_validator_cache()  # the next validation fetches the schemas anew


asyncio.run(main())
