"""Whether there is a W&B account: an API key in the client's settings, or in netrc."""

from types import SimpleNamespace

import pytest

from facekp.reporting.wandb_account import has_account

pytest.importorskip("wandb")


def test_a_key_is_found_in_the_settings_or_in_netrc(tmp_path, monkeypatch):
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    url = "http://127.0.0.1:9"
    assert has_account(SimpleNamespace(base_url=url, api_key="a" * 40))
    assert not has_account(SimpleNamespace(base_url=url, api_key=None))
    (tmp_path / "netrc").write_text(f"machine 127.0.0.1:9 login user password {'a' * 40}\n")
    assert has_account(SimpleNamespace(base_url=url, api_key=None))
