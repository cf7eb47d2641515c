"""Webhooks that are deleted while something happens to jobs: nobody fails who only had to tell of it."""

from __future__ import annotations

import threading

import pytest
from sqlalchemy import text

from services.db.models import Job
from services.errors import InvalidRequest
from services.jobs.states import add_event
from services.webhooks import service
from services.webhooks.schema import JobWebhook
from tests.factories import add_job, read_job
from tests.stack import until

WAITING = text("SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'")


def waits(database, thread):
    """Tell whether somebody waits for a lock, or the thread has ended."""
    with database.read_session() as session:
        return session.scalar(WAITING) or not thread.is_alive()


def meanwhile(world, webhook_id, action):
    """Delete a webhook, and commit once ``action`` waits for that; return what it returned."""
    found = []
    thread = threading.Thread(target=lambda: found.append(action()))
    with world.database.session() as session:
        service.delete_webhook(session, tenant_id=world.tenant_id, webhook_id=webhook_id)
        thread.start()
        until(lambda: waits(world.database, thread), seconds=60)
    thread.join(60)
    return found


def test_an_event_is_told_to_those_that_are_left(world, receiver):
    going, staying = world.webhook(receiver.url), world.webhook(receiver.url)
    job_id = add_job(world.database, world.tenant_id)
    assert meanwhile(world, going, lambda: world.move(job_id, "starting")) == [None]
    assert len(world.log(staying)) == 1


def test_a_job_that_names_it_is_refused(world, receiver):
    webhook_id = world.webhook(receiver.url)

    def check():
        with pytest.raises(InvalidRequest) as caught, world.database.session() as session:
            wanted = JobWebhook(id=webhook_id)
            service.check_job_webhook(session, tenant_id=world.tenant_id, wanted=wanted, settings=world.settings)
        return caught.value.code

    assert meanwhile(world, webhook_id, check) == ["unknown_webhook"]


def test_a_job_with_its_address_gets_a_new_one(world, receiver):
    webhook_id, job_id = world.webhook(receiver.url), add_job(world.database, world.tenant_id)

    def attach():
        with world.database.session() as session:
            job = session.get_one(Job, job_id)
            service.attach(session, job, wanted=JobWebhook(url=receiver.url), settings=world.settings)
            return job.webhook_id

    [made] = meanwhile(world, webhook_id, attach)
    assert world.look(made)["url"] == receiver.url
    assert made != webhook_id


def test_a_job_whose_event_is_being_told_is_waited_for(world, receiver):
    webhook_id = world.webhook(receiver.url, "webhook.disabled")
    job_id = add_job(world.database, world.tenant_id, webhook_id=webhook_id, webhook_events=["job.*"])
    gone = []

    def delete():
        with world.database.session() as session:
            service.delete_webhook(session, tenant_id=world.tenant_id, webhook_id=webhook_id)
        gone.append(webhook_id)

    thread = threading.Thread(target=delete)
    with world.database.session() as session:
        job = session.get_one(Job, job_id, with_for_update=True)
        thread.start()
        until(lambda: waits(world.database, thread), seconds=60)
        add_event(session, job, "job.due", {})
    thread.join(60)
    assert gone == [webhook_id]
    assert read_job(world.database, job_id).webhook_id is None
