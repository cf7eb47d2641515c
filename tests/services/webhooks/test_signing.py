"""Signatures against what Standard Webhooks publishes."""

import base64
from datetime import UTC, datetime

import pytest
from standardwebhooks import Webhook

from services.webhooks.schema import WebhookRequest
from services.webhooks.signing import new_secret, signed_headers


def test_the_published_vector_is_met():
    at = datetime.fromtimestamp(1614265330, UTC)
    headers = signed_headers(
        "msg_p5jXN8AQM9LWM0D4loKWxJek",
        '{"test": 2432232314}',
        at=at,
        keys=["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"],
    )
    assert headers == {
        "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
        "webhook-timestamp": "1614265330",
        "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
    }


def test_each_secret_signs_for_itself():
    keys = [new_secret(), new_secret()]
    assert len({*keys}) == 2
    body = '{"näme":"ü"}'
    headers = signed_headers("evt_1", body, at=datetime.now(UTC), keys=keys)
    for key in keys:
        assert Webhook(key).verify(body.encode(), headers) == {"näme": "ü"}
    with pytest.raises(Exception, match="No matching signature"):
        Webhook(new_secret()).verify(body.encode(), headers)


def test_a_new_secret_is_one_that_could_have_been_given():
    secret = new_secret()
    assert len(base64.b64decode(secret.removeprefix("whsec_"))) == 32
    assert WebhookRequest(url="https://x", secret=secret).secret == secret
