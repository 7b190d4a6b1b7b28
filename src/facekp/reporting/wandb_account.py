"""Whether this machine has a W&B account."""

from __future__ import annotations

from typing import Any


def has_account(client: Any) -> bool:
    """Whether the W&B client finds an API key.

    Args:
        client: settings of the client (`wandb.Settings`).
    """
    from wandb.sdk.lib import wbauth

    return client.api_key is not None or wbauth.read_netrc_auth(host=client.base_url) is not None
