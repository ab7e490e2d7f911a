"""Twelve stable codes to decide by; the platform's own hundreds of identifiers stay out of sight."""

import asyncio

from runware_jobs.client import Runware, RunwareError, create_runware_error, is_runware_error


def check_width(width: int) -> None:
    """An error of your own, in the same shape."""
    if width % 64:
        raise create_runware_error(
            "invalidParameter",
            "Width must be a multiple of 64",
            parameter="width",
            task_type="imageInference",
        )


async def main() -> None:
    async with Runware() as client:
        try:
            await client.run(
                {
                    "model": "runware:400@1",
                    "positivePrompt": "A detailed rendering",
                    "width": 1024,
                    "height": 1024,
                    "outputFormat": "BMP",
                }
            )
        except RunwareError as exc:
            match exc.code:
                case "validation":
                    print(f"mend {exc.parameter}: {exc.message}")
                case "quota":
                    print("out of credits")
                case _ if exc.retryable:
                    print("try again later")
            print(exc.task_uuid, exc.status_code, exc.documentation)

    try:
        check_width(100)
    except Exception as exc:  # noqa: BLE001 - the point: it is recognised, whatever it is
        print(is_runware_error(exc), exc)


asyncio.run(main())
