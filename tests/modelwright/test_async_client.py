import asyncio
import inspect
import threading

import pytest

from modelwright import AsyncClient, Client, InvalidRequest, JobFailed
from modelwright.transport import RetryPolicy
from tests.modelwright.scripted import reply, scripted

QUICK = RetryPolicy(attempts=2, first_seconds=0.01)
RUNNING = {"id": "job_1", "state": "running", "terminal": False}
DONE = {"id": "job_1", "state": "succeeded", "terminal": True}
FAILED = {"id": "job_1", "state": "failed", "terminal": True, "error": {"code": "non_finite_loss", "message": "NaN."}}


def run(service, use):
    """Await ``use(client)``."""

    async def main():
        async with AsyncClient(service.url, "mw_key", retries=QUICK) as client:
            return await use(client)

    return asyncio.run(main())


def public(kind):
    return {name for name, _ in inspect.getmembers(kind, inspect.isfunction) if not name.startswith("_")}


def test_every_method_of_the_client_can_be_awaited_or_iterated():
    assert public(Client) == public(AsyncClient) - {"in_thread"}
    for name in public(Client) - {"close"}:
        yields = "Iterator" in str(inspect.signature(getattr(Client, name)).return_annotation)
        twin = getattr(AsyncClient, name)
        assert inspect.isasyncgenfunction(twin) if yields else inspect.iscoroutinefunction(twin), name
        assert twin.__doc__ == getattr(Client, name).__doc__


def test_a_job_is_submitted_awaited_and_looked_at():
    async def use(client):
        job = await client.submit({"model": "Linear(1, 1)"})
        assert (job["state"], job.id, job.ended) == ("running", "job_1", False)
        return (await job.result()).state

    with scripted(reply(201, RUNNING), reply(200, DONE)) as service:
        assert run(service, use) == "succeeded"


def test_a_job_that_failed_is_raised_by_its_result():
    async def use(client):
        await (await client.get_job("job_1")).result()

    with scripted(reply(200, FAILED)) as service, pytest.raises(JobFailed, match="NaN"):
        run(service, use)


def test_errors_are_those_of_the_client():
    with scripted(reply(422, {"code": "shape_mismatch", "detail": "no"})) as service, pytest.raises(InvalidRequest):
        run(service, lambda client: client.submit({}))


def test_changes_are_iterated_and_pages_too():
    async def use(client):
        states = [change["state"] async for change in client.watch("job_1")]
        return states, [job.id async for job in client.list_jobs()]

    page = {"data": [DONE, {**DONE, "id": "job_2"}], "has_more": False, "last_id": "job_2"}
    with scripted(reply(200, RUNNING), reply(200, DONE), reply(200, page)) as service:
        assert run(service, use) == (["running", "succeeded"], ["job_1", "job_2"])


def test_calls_run_beside_one_another_and_the_loop_goes_on():
    arrived = threading.Barrier(8, timeout=60)

    def answer(handler):
        arrived.wait()  # no answer before all eight have asked
        reply(200, DONE)(handler)

    async def use(client):
        return await asyncio.gather(*(client.get_job("job_1") for _ in range(8)))

    with scripted(answer) as service:
        assert [job.state for job in run(service, use)] == ["succeeded"] * 8


def test_a_loop_that_is_left_early_closes_what_it_read():
    closed = threading.Event()

    async def use(client):
        def numbers(_, /):
            try:
                yield from range(10)
            finally:
                closed.set()

        from modelwright.async_client import _iterated

        iterated = _iterated(numbers)(client)
        async for number in iterated:
            if number == 3:
                break
        await iterated.aclose()

    with scripted(reply(200, DONE)) as service:
        run(service, use)
    assert closed.is_set()


def test_a_loop_that_is_left_early_can_be_closed_after_its_client():
    async def main(url):
        async with AsyncClient(url, "mw_key", retries=QUICK) as client:
            changes = client.watch("job_1")
            async for _ in changes:
                break
        await changes.aclose()

    with scripted(reply(200, RUNNING)) as service:
        asyncio.run(main(service.url))
