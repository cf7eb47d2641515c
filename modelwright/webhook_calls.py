"""What a client can do with webhooks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from modelwright.requests import Requests, Tagged, filters, path

Json = dict[str, Any]


class WebhookCalls(Requests):
    """The methods for ``/v1/webhooks``."""

    def create_webhook(
        self,
        url: str,
        *,
        events: Sequence[str] | None = None,
        secret: str | None = None,
        idempotency_key: str | None = None,
    ) -> Json:
        """Have events sent to an https address and return the webhook, with its ``secret``, which is shown this once.

        Args:
            url: where to; the service's operator says which hosts are allowed.
            events: types, ``job.*``, ``*``, ``job.state_changed:failed`` …; every change of state by default.
            secret: ``whsec_…``, if there is one already.
            idempotency_key: with the same one, the webhook that was made before.

        Raises:
            InvalidRequest: ``url_not_allowed``, ``unknown_event`` …
        """
        body: Json = {"url": url}
        body |= {} if events is None else {"events": list(events)}
        body |= {} if secret is None else {"secret": secret}
        return self._post("/v1/webhooks", body, idempotency_key)

    def webhooks(self, *, limit: int | None = None) -> Iterator[Json]:
        """Yield webhooks, newest first; at most ``limit``."""
        return self._pages("/v1/webhooks", [], limit)

    def get_webhook(self, webhook_id: str) -> Tagged:
        """Return a webhook.

        Raises:
            NotFound: you have no such webhook.
        """
        return self._look(path("webhooks", webhook_id))

    def change_webhook(
        self,
        webhook_id: str,
        *,
        url: str | None = None,
        events: Sequence[str] | None = None,
        enabled: bool | None = None,
        if_match: str | None = None,
    ) -> Tagged:
        """Change a webhook, or switch it off or on, and return it.

        Args:
            webhook_id: which webhook.
            url: another address.
            events: as for `create_webhook`.
            enabled: whether it is on.
            if_match: the ``etag`` of the webhook as it was looked at: nothing happens if it has changed since.

        Raises:
            NotFound: you have no such webhook.
            PreconditionFailed: it has changed.
        """
        body: Json = {"url": url, "events": None if events is None else list(events), "enabled": enabled}
        given = {name: value for name, value in body.items() if value is not None}
        return self._patch(path("webhooks", webhook_id), given, if_match)

    def delete_webhook(self, webhook_id: str, *, if_match: str | None = None) -> None:
        """Delete a webhook and its log; with ``if_match``, its ``etag``, only as it was looked at.

        Raises:
            NotFound: you have no such webhook.
            PreconditionFailed: it has changed.
        """
        self._transport.delete(path("webhooks", webhook_id), if_match=if_match)

    def rotate_webhook_secret(self, webhook_id: str) -> Json:
        """Replace the secret and return the webhook with the new one; for a day both sign."""
        return self._post(path("webhooks", webhook_id, "rotate-secret"), None, None)

    def test_webhook(self, webhook_id: str) -> Json:
        """Have a test event sent, and return its delivery, which is pending at first.

        Raises:
            StateConflict: the webhook is switched off.
        """
        return self._post(path("webhooks", webhook_id, "test"), None, None)

    def webhook_deliveries(
        self, webhook_id: str, *, states: Sequence[str] = (), limit: int | None = None
    ) -> Iterator[Json]:
        """Yield deliveries, newest first: state, and each try with status, latency and beginning of the answer."""
        return self._pages(path("webhooks", webhook_id, "deliveries"), filters(status=states), limit)

    def get_webhook_delivery(self, webhook_id: str, event_id: str) -> Json:
        """Return the delivery of an event."""
        return self._get(path("webhooks", webhook_id, "deliveries", event_id))

    def redeliver(self, webhook_id: str, event_id: str) -> Json:
        """Have an event delivered once more, with its old id, and return its delivery.

        Raises:
            StateConflict: the webhook is switched off.
        """
        return self._post(path("webhooks", webhook_id, "deliveries", event_id, "redeliver"), None, None)
