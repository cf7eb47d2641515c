"""What is delivered, to whom, in what order, and how often, whatever the receiver does."""

from __future__ import annotations

import itertools
import socket
import threading
from dataclasses import replace

import pytest
from sqlalchemy import text
from standardwebhooks import Webhook as Verifier

from services.db.models import Job
from services.errors import InvalidRequest
from services.jobs import events
from services.jobs.states import add_event
from services.webhooks import deliveries, delivery, service
from services.webhooks.delivery import take_turn
from tests.factories import add_job
from tests.receiver import HOST, leads_to

ENDS = ("job.state_changed:succeeded", "job.state_changed:failed", "job.state_changed:cancelled")


def listed(world, job_id):
    with world.database.read_session() as session:
        return events.list_events(session, tenant_id=world.tenant_id, job_id=job_id, limit=100).data


def test_the_events_of_a_job_come_in_order_as_the_list_shows_them(world, receiver):
    webhook_id = world.webhook(receiver.url)
    job_id = world.job("starting", "running", "succeeded")
    world.run()
    assert [{k: v for k, v in one.items() if k != "timestamp"} for one in receiver.events] == listed(world, job_id)
    assert receiver.ids == [event["id"] for event in receiver.events]
    log = world.log(webhook_id)
    assert [one["id"] for one in log] == receiver.ids
    assert {(one["state"], one["tried"], one["tries"][0]["status"], one["tries"][0]["answer"]) for one in log} == {
        ("succeeded", 1, 200, "thanks")
    }
    assert world.look(webhook_id)["last_delivered_at"]


def test_what_comes_is_signed_with_the_secret_that_was_shown_once(world, receiver):
    with world.database.session() as session:
        made = service.create(
            session, tenant_id=world.tenant_id, body={"url": receiver.url}, settings=world.settings
        ).webhook
    assert "secret" not in world.look(made["id"])
    world.job("starting")
    world.run()
    [(headers, body)] = receiver.requests
    assert Verifier(made["secret"]).verify(body, headers)["type"] == "job.state_changed"
    assert headers["content-type"] == "application/json"
    assert headers["host"] == f"{HOST}:{receiver.port}"


def test_for_a_day_an_old_secret_signs_beside_the_new_one(world, receiver):
    with world.database.session() as session:
        old = service.create(
            session, tenant_id=world.tenant_id, body={"url": receiver.url}, settings=world.settings
        ).webhook
        new = service.replace_secret(session, tenant_id=world.tenant_id, webhook_id=old["id"])
    job_id = world.job("starting")
    world.run()
    for secret in (old["secret"], new["secret"]):
        Verifier(secret).verify(receiver.requests[0][1], receiver.requests[0][0])
    with world.database.session() as session:
        session.execute(text("UPDATE webhook SET old_secret_until = now()"))
    world.move(job_id, "running")
    world.run()
    headers, body = receiver.requests[1]
    assert len(headers["webhook-signature"].split()) == 1
    Verifier(new["secret"]).verify(body, headers)


@pytest.mark.parametrize(
    ("wanted", "states"),
    [
        (ENDS, ["succeeded"]),
        (("job.state_changed",), ["starting", "running", "succeeded"]),
        (("job.*",), ["starting", "running", "succeeded"]),
        (("job.state_changed:running", "job.checkpoint"), ["running"]),
        (("job.checkpoint", "webhook.disabled"), []),
        ((), []),
    ],
)
def test_a_webhook_gets_what_it_asked_for(world, receiver, wanted, states):
    webhook_id = world.webhook(receiver.url)
    world.change(webhook_id, events=list(wanted))
    world.job("starting", "running", "succeeded")
    world.run()
    assert [event["data"]["state"] for event in receiver.events] == states


def test_a_job_names_its_own_webhook_and_its_own_events(world, receiver):
    webhook_id = world.webhook(receiver.url, "job.state_changed:failed")
    world.change(webhook_id, events=[])
    mine = world.job("starting", "running", "succeeded", webhook_id=webhook_id, webhook_events=[ENDS[0]])
    world.job("starting", "running", "succeeded")
    world.run()
    assert [(event["job_id"], event["data"]["state"]) for event in receiver.events] == [(mine, "succeeded")]


def test_another_tenants_events_are_not_told(world, receiver, database):
    world.webhook(receiver.url)
    from services.db.models import Tenant

    with database.session() as session:
        session.add(Tenant(id="ten_other", name="other"))
    other = replace(world, tenant_id="ten_other")
    other.job("starting")
    assert world.run() == 0
    assert receiver.requests == []


def test_an_event_whose_transaction_fails_is_never_delivered(world, receiver):
    world.webhook(receiver.url)
    job_id = add_job(world.database, world.tenant_id)
    with pytest.raises(RuntimeError), world.database.session() as session:
        add_event(session, session.get(Job, job_id), "job.started", {})
        raise RuntimeError
    assert world.run() == 0


def test_a_receiver_that_was_down_gets_everything_later_in_order_with_the_same_ids(world, receiver):
    webhook_id = world.webhook(receiver.url)
    receiver.down = True
    job_id = world.job("starting", "running")
    world.run(6)
    assert world.look(webhook_id)["failing_since"]
    world.move(job_id, "succeeded")
    assert receiver.requests == []
    receiver.down = False
    world.run()
    assert receiver.ids == [event["id"] for event in listed(world, job_id)]
    assert len(receiver.ids) == 3
    assert world.look(webhook_id)["failing_since"] is None
    tried = world.log(webhook_id)[0]["tries"]
    assert (tried[0]["status"], tried[-1]["status"]) == (None, 200)
    assert "cannot be reached" in tried[0]["error"]


@pytest.mark.parametrize("status", [301, 302, 307, 400, 404, 429, 500, 503])
def test_any_answer_but_2xx_is_a_failure_and_a_redirect_is_not_followed(world, receiver, status):
    webhook_id = world.webhook(receiver.url)
    receiver.answer, receiver.headers = lambda _: status, {"Location": "https://169.254.169.254/latest/meta-data/"}
    world.job("starting")
    world.turn()
    [one] = world.log(webhook_id)
    assert (one["state"], one["tried"], one["tries"][0]["status"]) == ("pending", 1, status)
    assert one["next_try_at"]
    assert receiver.connections == 1


def test_an_event_that_a_receiver_cannot_take_does_not_hold_up_the_others(world, receiver):
    webhook_id = world.webhook(receiver.url)
    receiver.answer = lambda event: 500 if event["data"]["state"] == "starting" else 200
    world.job("starting", "running", "succeeded")
    patient = replace(world.settings, webhook_retry_seconds=60.0)
    assert world.turn(patient)
    assert not world.turn(patient)  # it gets a rest
    with world.database.session() as session:
        session.execute(text("UPDATE webhook SET next_turn_at = now()"))
    assert world.turn(patient)
    assert [one["state"] for one in world.log(webhook_id)] == ["pending", "succeeded", "succeeded"]


def test_when_an_outage_ends_nothing_waits_for_its_next_try(world, receiver):
    webhook_id = world.webhook(receiver.url)
    world.job("starting", "running", "succeeded")
    patient = replace(world.settings, webhook_retry_seconds=3600.0)
    receiver.down = True
    for _ in range(3):
        with world.database.session() as session:
            session.execute(text("UPDATE webhook SET next_turn_at = now()"))
        assert world.turn(patient)
    receiver.down = False
    job_id = world.job("starting")
    with world.database.session() as session:
        session.execute(text("UPDATE webhook SET next_turn_at = now()"))
    assert world.turn(patient)
    assert world.turn(patient)
    assert {one["state"] for one in world.log(webhook_id)} == {"succeeded"}
    assert receiver.events[0]["job_id"] == job_id


def test_pauses_grow_to_hours_and_in_the_end_an_event_is_given_up(world, receiver):
    webhook_id = world.webhook(receiver.url)
    patient = replace(world.settings, webhook_retry_seconds=5.0)
    receiver.down = True
    world.job("starting")
    pauses = []
    for _ in range(40):
        with world.database.session() as session:
            session.execute(text("UPDATE webhook SET next_turn_at = now()"))
            found = session.execute(
                text("SELECT greatest(extract(epoch FROM due_at - now()), 0) FROM webhook_delivery")
            ).scalar_one()
            # Time passes: the delivery is due, and was asked for so much longer ago.
            session.execute(text("UPDATE webhook_delivery SET asked_at = asked_at - (due_at - now()), due_at = now()"))
        pauses.append(float(found))
        if not world.turn(patient):
            break
    [one] = world.log(webhook_id)
    assert one["state"] == "failed"
    assert one["tried"] == len(pauses) - 1
    assert 13 <= one["tried"] <= 20
    assert len(one["tries"]) <= delivery.KEPT_TRIES
    waited = pauses[1:-1]
    assert all(later > before for before, later in itertools.pairwise(waited[:12]))
    assert max(waited) <= 6 * 3600 * 1.2
    assert 24 * 3600 < sum(waited) < 32 * 3600


def test_a_webhook_that_fails_for_days_is_switched_off_and_the_others_are_told(world, receiver):
    failing = world.webhook(receiver.url)
    other = world.webhook(receiver.url, "webhook.disabled")
    receiver.answer = lambda event: 200 if event["type"] == "webhook.disabled" else 500
    job_id = world.job("starting")
    world.turn()
    with world.database.session() as session:
        session.execute(text("UPDATE webhook SET failing_since = now() - interval '6 days' WHERE failures > 0"))
    world.run()
    found = world.look(failing)
    assert (found["enabled"], found["disabled_reason"]) == (False, "failing")
    [told] = [event for event in receiver.events if event["type"] == "webhook.disabled"]
    assert (told["data"]["webhook_id"], told["data"]["url"]) == (failing, receiver.url)
    assert [one["state"] for one in world.log(other)] == ["succeeded"]
    # While it is off nothing is kept for it; what waited is delivered when it is switched on.
    world.move(job_id, "running")
    receiver.answer = lambda _: 200
    assert world.run() == 0
    assert world.change(failing, enabled=True)["disabled_reason"] is None
    world.run()
    assert [one["state"] for one in world.log(failing)] == ["succeeded"]


def test_a_receiver_that_is_gone_for_good_says_so(world, receiver):
    webhook_id = world.webhook(receiver.url)
    receiver.answer = lambda _: 410
    world.job("starting", "running")
    world.run()
    assert world.look(webhook_id)["disabled_reason"] == "gone"
    assert len(receiver.requests) == 1


@pytest.mark.parametrize("status", [200, 410])
def test_a_webhook_that_is_switched_off_gets_no_more_of_the_turn_that_goes_on(world, receiver, status):
    webhook_id = world.webhook(receiver.url)
    receiver.answer = lambda _: world.change(webhook_id, enabled=False) and status
    world.job("starting", "running", "succeeded")
    world.turn()
    assert len(receiver.requests) == 1
    assert world.look(webhook_id)["disabled_reason"] == "by_request"


def test_a_slow_receiver_is_cut_off_by_one_deadline_for_everything(world, receiver):
    webhook_id = world.webhook(receiver.url)
    receiver.hold = threading.Event()
    world.job("starting")
    world.turn(replace(world.settings, webhook_timeout_seconds=0.5))
    receiver.hold.set()
    [one] = world.log(webhook_id)
    assert one["tries"][0]["error"].endswith("(no answer in time).")


def test_a_receiver_that_drips_is_cut_off_too(world, receiver, monkeypatch):
    """Each byte comes in time; all of them together would not."""
    stop = threading.Event()

    def drip(listener):
        connection, _ = listener.accept()
        with connection:
            for byte in b"HTTP/1.1 200 OK\r\nX-Slow: " + b"x" * 1000:
                if stop.wait(0.05):
                    return
                try:
                    connection.send(bytes([byte]))
                except OSError:
                    return

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=drip, args=(listener,))
        thread.start()
        # Without TLS, which would only be in the way of the drops.
        monkeypatch.setattr("httpcore.SyncBackend.connect_tcp", plain(listener.getsockname()[1]))
        webhook_id = world.webhook(receiver.url)
        world.job("starting")
        world.turn(replace(world.settings, webhook_timeout_seconds=1.0))
        stop.set()
        thread.join()
    [one] = world.log(webhook_id)
    assert one["tries"][0]["error"].endswith("(no answer in time).")


def plain(port):
    """Return what connects to a port, and speaks no TLS when it is asked to."""
    import httpcore

    real = httpcore.SyncBackend.connect_tcp

    class Plain(httpcore.NetworkStream):
        def __init__(self, inner):
            self.read, self.write, self.close = inner.read, inner.write, inner.close
            self.get_extra_info = inner.get_extra_info

        def start_tls(self, *_, **__):
            return self

    return lambda self, host, _port, *rest: Plain(real(self, host, port, *rest))


def test_a_long_answer_is_read_no_further_than_it_is_shown(world, receiver):
    webhook_id = world.webhook(receiver.url)
    receiver.content = b"\x00\xff" + b"a" * (2 << 20)
    world.job("starting")
    world.run()
    [one] = world.log(webhook_id)
    assert (one["state"], one["tries"][0]["answer"]) == ("succeeded", "��" + "a" * 1022)


def test_a_certificate_of_another_authority_ends_the_connection_before_a_request(world, receiver):
    webhook_id = world.webhook(receiver.url)
    world.job("starting")
    world.turn(replace(world.settings, remote_ca_file=None))
    assert receiver.requests == []
    assert "CERTIFICATE_VERIFY_FAILED" in world.log(webhook_id)[0]["tries"][0]["error"]


INNER = ["10.0.0.7", "169.254.169.254", "127.0.0.1", "::1", "::ffff:8.8.8.8", "64:ff9b::808:808", "2002:a00:5::1"]


@pytest.mark.parametrize("address", INNER)
def test_a_name_that_leads_inside_by_now_gets_no_packet(world, receiver, monkeypatch, address):
    webhook_id = world.webhook(receiver.url)
    world.job("starting")
    leads_to(monkeypatch, "93.184.216.34", address, port=receiver.port)

    def forbidden(*arguments):
        pytest.fail(f"a packet was sent: {arguments}")

    strict = replace(world.settings, remote_networks=())
    with world.database.session() as session:
        turn = take_turn(session)
    monkeypatch.setattr("httpcore.SyncBackend.connect_tcp", forbidden)
    delivery.deliver(world.database, turn, strict)
    assert receiver.connections == 0
    [one] = world.log(webhook_id)
    assert one["tries"][0]["error"].startswith("url_not_allowed: ")
    with pytest.raises(InvalidRequest) as refused:
        service.check_url(receiver.url, strict)
    assert refused.value.code == "url_not_allowed"


def test_a_host_that_is_no_longer_allowed_gets_no_packet(world, receiver):
    webhook_id = world.webhook(receiver.url)
    world.job("starting")
    world.turn(replace(world.settings, webhook_hosts=("other.example.test",)))
    assert receiver.connections == 0
    assert world.log(webhook_id)[0]["tries"][0]["error"].startswith("url_not_allowed: ")


def test_a_turn_is_taken_by_one_and_one_that_died_is_followed_by_another(world, receiver):
    world.webhook(receiver.url)
    world.job("starting")
    with world.database.session() as session:
        assert take_turn(session) is not None
    assert not world.turn()  # the dead one has it
    with world.database.session() as session:
        session.execute(text("UPDATE webhook SET next_turn_at = now()"))
    assert world.turn()
    assert len(receiver.requests) == 1


def test_a_turn_that_was_lost_may_repeat_an_event_and_never_forgets_one(world, receiver):
    """The process dies after the receiver has answered and before that is written down."""
    webhook_id = world.webhook(receiver.url)
    world.job("starting")

    class Killed(BaseException):
        pass

    def dies(*_, **__):
        raise Killed

    with pytest.MonkeyPatch.context() as patched, pytest.raises(Killed):
        patched.setattr(delivery, "_settle", dies)
        world.turn()
    with world.database.session() as session:
        session.execute(text("UPDATE webhook SET next_turn_at = now()"))
    world.run()
    assert len(receiver.ids) == 2
    assert len(set(receiver.ids)) == 1
    assert [one["state"] for one in world.log(webhook_id)] == ["succeeded"]


def test_what_was_delivered_is_delivered_again_on_demand_with_its_old_id(world, receiver):
    webhook_id = world.webhook(receiver.url)
    world.job("starting")
    world.run()
    ids = {"tenant_id": world.tenant_id, "webhook_id": webhook_id}
    with world.database.session() as session:
        again = deliveries.redeliver(session, **ids, event_id=receiver.ids[0])
    assert again["state"] == "pending"
    world.run()
    assert receiver.ids == [again["id"]] * 2
    assert len(world.log(webhook_id)[0]["tries"]) == 2


def test_a_test_comes_whatever_was_asked_for(world, receiver):
    webhook_id = world.webhook(receiver.url, "job.checkpoint")
    with world.database.session() as session:
        sent = deliveries.send_test(session, tenant_id=world.tenant_id, webhook_id=webhook_id)
    world.run()
    [event] = receiver.events
    assert (event["type"], event["id"], event["data"]["webhook_id"]) == ("webhook.test", sent["id"], webhook_id)
    assert event["timestamp"] == event["created_at"]


def test_a_webhook_that_is_deleted_takes_what_waited_with_it(world, receiver):
    webhook_id = world.webhook(receiver.url)
    job_id = world.job("starting", webhook_id=webhook_id, webhook_events=["*"])
    with world.database.session() as session:
        service.delete_webhook(session, tenant_id=world.tenant_id, webhook_id=webhook_id)
    world.move(job_id, "running")
    assert world.run() == 0


def test_the_log_is_kept_for_a_while(world, receiver):
    webhook_id = world.webhook(receiver.url)
    world.job("starting", "running")
    world.run()
    receiver.down = True
    world.job("starting")
    with world.database.session() as session:
        session.execute(text("UPDATE webhook_delivery SET created_at = now() - interval '31 days'"))
        assert deliveries.delete_settled(session, older_than_seconds=30 * 86_400, limit=100) == 2
    assert [one["state"] for one in world.log(webhook_id)] == ["pending"]
