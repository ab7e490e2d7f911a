"""The page at `/`, and the numbers it asks for."""

from __future__ import annotations

import re

from runware_jobs.store.keys import Scope

HTML = {"Accept": "text/html,application/xhtml+xml"}
PARAMS = {"model": "runware:400@1", "positivePrompt": "a lighthouse"}


async def test_the_page_loads_nothing_from_anywhere_else(client):
    page = await client.get("/", headers=HTML)

    assert page.status_code == 200
    policy = page.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe-inline" not in policy
    loaded = re.findall(r'(?:src|href)="(/dashboard/[^"]+)"', page.text)
    assert len(loaded) == 2
    for path in loaded:
        part = await client.get(path)
        assert part.status_code == 200
        assert not re.search(r"https?://(?!\$)", part.text), path
    assert not re.search(r"\sstyle=|\son\w+=|<script>|<style>", page.text)


async def test_with_keys_a_browser_gets_the_page_that_asks_for_one(client, new_key):
    await new_key()

    page = await client.get("/", headers=HTML)

    assert page.status_code == 401
    assert 'id="sign-in"' in page.text
    assert (await client.get("/dashboard/dashboard.js")).status_code == 200
    assert (await client.get("/dashboard/overview")).status_code == 401


async def test_only_the_files_of_the_page_are_served(client, new_key):
    for name in ("../app.py", "..%2Fapp.py", "%2e%2e/app.py", "app.py", "/etc/passwd", "dashboard.css/x"):
        answer = await client.get(f"/dashboard/{name}")

        assert answer.status_code == 404, name


async def test_the_overview_shows_counts_batches_and_jobs(client, enqueue, jobs):
    batch = (await client.post("/v1/batches", json={"name": "spring", "jobs": [PARAMS] * 2})).json()
    job = await enqueue(custom_id="row-7")
    await jobs.succeed(
        job["id"],
        {"videoURL": "https://im.example/v.mp4"},
        {"imageURL": "https://im.example/a.png"},
        {"imageURL": "https://im.example/b.png"},
    )

    overview = (await client.get("/dashboard/overview")).json()

    assert overview["counts"]["queued"] == 2
    assert overview["counts"]["succeeded"] == 1
    assert [one["id"] for one in overview["batches"]] == [batch["id"]]
    row = overview["jobs"][0]
    assert (row["id"], row["thumbnail"], row["results"]) == (job["id"], "https://im.example/a.png", 3)
    assert (row["cost_usd"], row["prompt"], row["custom_id"]) == ("0.0013", "a lighthouse", "row-7")
    assert "params" not in row


async def test_an_image_that_is_no_web_address_is_no_thumbnail(client, enqueue, jobs):
    for url in ("javascript:alert(1)", "file:///etc/passwd", "data:text/html,x", None):
        job = await enqueue()
        await jobs.succeed(job["id"], {"imageURL": url})

    overview = (await client.get("/dashboard/overview")).json()

    assert [row["thumbnail"] for row in overview["jobs"]] == [None] * 4


async def test_a_key_without_read_does_not_see_the_overview(connect, new_key):
    answer = await connect(key=await new_key(Scope.ENQUEUE)).get("/dashboard/overview")

    assert answer.status_code == 403
