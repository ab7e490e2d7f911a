"""The examples do what the README says, and the README shows them as they are."""

from __future__ import annotations

import os
import runpy
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import pytest

from runware_jobs.core.signing import new_secret, sign
from tests.support.polling import poll_until_async
from tests.support.worker_process import running_worker

if TYPE_CHECKING:
    from runware_jobs import Jobs

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = ROOT / "examples"


def test_the_readme_shows_the_web_app_as_it_is() -> None:
    code = (EXAMPLES / "web_app.py").read_text().split('"""\n\n', 1)[1]

    assert code in (ROOT / "README.md").read_text()


@pytest.mark.slow
async def test_the_web_app_answers_at_once_and_shows_the_picture_later(
    environment: dict[str, str], tmp_path: Path
) -> None:
    module = runpy.run_path(str(EXAMPLES / "web_app.py"))
    transport = httpx.ASGITransport(app=module["app"])
    with running_worker(environment, log=tmp_path / "worker.log"):
        async with httpx.AsyncClient(transport=transport, base_url="http://app") as browser:
            made = await browser.post("/pictures", params={"prompt": "a red kite", "user": 7})

            async def painted() -> dict[str, object] | None:
                look = (await browser.get(f"/pictures/{made.json()['id']}")).json()
                return look if look["state"] == "succeeded" else None

            shown = await poll_until_async(painted, what="the picture")
    await module["jobs"].aclose()

    assert made.status_code == 200
    [picture] = shown["pictures"]
    assert httpx.get(picture).headers["content-type"] == "image/jpeg"


@pytest.mark.slow
def test_the_script_run_twice_paints_and_bills_one_picture(
    environment: dict[str, str], jobs: Jobs, tmp_path: Path
) -> None:
    with running_worker(environment, log=tmp_path / "worker.log"):
        said = [
            subprocess.run(
                [sys.executable, str(EXAMPLES / "script.py")],
                env={**os.environ, **environment},
                capture_output=True,
                text=True,
                check=True,
                timeout=60,
            ).stdout.splitlines()[0]
            for _ in range(2)
        ]

    assert said[0] == said[1]
    assert "imageURL" not in said[0]
    assert said[0].startswith("http")
    assert len([job for job in jobs.list() if job.to_dict()["lane"] == "image"]) == 1


async def test_the_receiver_takes_what_we_sign_and_refuses_the_rest(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    secret = new_secret()
    monkeypatch.setenv("WEBHOOK_SECRET", secret)
    app = runpy.run_path(str(EXAMPLES / "webhook_receiver.py"))["app"]
    body = b'{"id": "e1", "type": "job.succeeded", "job_id": "j1", "data": {"cost_usd": "0.01"}}'
    headers = sign([secret], webhook_id="e1", timestamp=datetime.now(UTC), body=body)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://app") as sender:
        taken = await sender.post("/hooks", content=body, headers=headers)
        again = await sender.post("/hooks", content=body, headers=headers)
        forged = await sender.post("/hooks", content=body.replace(b"0.01", b"0.00"), headers=headers)

    assert [taken.status_code, again.status_code, forged.status_code] == [200, 200, 400]
    assert capsys.readouterr().out == "job.succeeded j1 0.01\n"
