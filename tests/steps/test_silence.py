"""Questions of which nothing comes back, between answers and outages: what each of them proves, and what not."""

from __future__ import annotations

from dataclasses import replace

from runware_jobs.client import Missing, NoAnswer, Polled, create_runware_error
from runware_jobs.client.error_codes import CONNECTION_FAILED
from runware_jobs.steps.poll import poll
from runware_jobs.steps.questions import Silence
from runware_jobs.steps.recover import recover
from runware_jobs.steps.submit import submit
from tests.steps.test_settle import Unknowing, steps_of
from tests.steps.test_submit_and_poll import added, attempts_of, job_of
from tests.support.rows import change_rows, read_rows

DAY_S = 86_400


class Scripted(Unknowing):
    """The platform as a script has it: what it says of `mine`, and of a task that nobody knows."""

    mine: frozenset[str] = frozenset()
    says = "processing"
    says_of_nobody = "missing"

    async def poll_many(self, tasks, **_):
        return {task: self._answer(task) for task in tasks}

    def _answer(self, task):
        match self.says if task in self.mine else self.says_of_nobody:
            case "processing":
                return Polled(({"status": "processing", "taskUUID": task},))
            case "missing":
                return Missing()
            case "503":
                return NoAnswer(create_runware_error("httpError", "not now", status_code=503))
            case _:
                return NoAnswer(create_runware_error(CONNECTION_FAILED, "gone"))


async def one_task(worker):
    """Send the one job there is; give its context, its platform and its watch, and a clock that stands still."""
    now = [0.0]
    platform = Scripted(worker.client)
    context = replace(worker, client=platform, silence=Silence(clock=lambda: now[0]))
    [watch] = (await submit(context)).watches
    watch.sent_at -= 100
    platform.mine = frozenset({str(watch.task_uuid)})

    async def ask(says, *, says_of_nobody="missing"):
        now[0] += 1000.0
        watch.doubt_at = 0.0
        platform.says, platform.says_of_nobody = says, says_of_nobody
        return await poll(context, [watch])

    return watch, ask


async def a_while_passes(engine, watch, seconds):
    """Let what was written down, and what the process remembers, be older."""
    async with engine.begin() as connection:
        await change_rows(
            connection,
            f"""UPDATE attempt SET submitted_at = submitted_at - make_interval(secs => {seconds}),
                accepted_at = accepted_at - make_interval(secs => {seconds}),
                settlement = COALESCE((SELECT jsonb_agg(step || jsonb_build_object('at',
                    (step ->> 'at')::timestamptz - make_interval(secs => {seconds})))
                    FROM jsonb_array_elements(settlement) AS step), '[]')""",
        )
    for name in ("refused_since", "missing_since"):
        since = getattr(watch, name)
        if since is not None:
            setattr(watch, name, since - seconds)


async def test_day_without_a_network_is_no_silence_of_one_task(engine, emulator, workers):
    [job_id] = await added(engine)
    async with workers() as worker:
        watch, ask = await one_task(worker)
        await ask("503")
        watch.refused_since -= 40
        await ask("503")
        [written] = await attempts_of(engine, job_id)
        await ask("gone", says_of_nobody="gone")
        await a_while_passes(engine, watch, 2 * DAY_S)
        await ask("gone", says_of_nobody="gone")
        left = await ask("503")

    assert "getResponse refused" in steps_of(written)
    assert left == [watch]
    assert (await job_of(engine, job_id))["state"] == "running"


async def test_doubt_that_an_answer_has_ended_is_not_taken_up_again_after_an_outage(
    engine, emulator, workers
):
    [job_id] = await added(engine)
    async with workers(lost_after_s=3600) as worker:
        watch, ask = await one_task(worker)
        await ask("processing")
        await ask("missing")
        watch.missing_since -= 40
        await ask("missing")
        await ask("503")
        await ask("503", says_of_nobody="503")
        await ask("processing")
        [written] = await attempts_of(engine, job_id)
        await a_while_passes(engine, watch, 3 * 3600)
        await ask("processing")
        await ask("missing")
        watch.missing_since -= 40
        left = await ask("missing")

    assert "getResponse known" in steps_of(written)
    assert left == [watch]
    assert (await job_of(engine, job_id))["state"] == "running"


async def test_recovery_does_not_take_one_silence_for_an_answer(engine, emulator, workers):
    await added(engine)
    async with workers() as first:
        watches = (await submit(first)).watches
    async with engine.begin() as connection:
        await change_rows(connection, "UPDATE process SET heartbeat_at = now() - interval '1 hour'")
        [row] = await read_rows(connection, "SELECT now() - interval '1 minute' AS since")
    async with workers() as worker:
        platform = Scripted(worker.client)
        platform.mine, platform.says = frozenset(str(watch.task_uuid) for watch in watches), "503"
        seen = await recover(
            replace(worker, client=platform),
            since=row["since"],
            sends_unknown=False,
            told=lambda _: None,
            patience_s=2,
        )

    assert not seen.is_resumed
    assert seen.unanswered_jobs
