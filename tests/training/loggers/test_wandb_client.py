"""Calls of the W&B client: when a run goes online, its name, its identity."""

import http.server
import threading
from types import SimpleNamespace

import pytest
import wandb
import yaml

from facekp.runs.folder import RunFolder
from facekp.training.logger_settings import LoggerSettings
from facekp.training.loggers import wandb_client


@pytest.fixture
def client(monkeypatch, tmp_path):
    """The client's settings, with a key and without a network unless an address is given."""

    def put(base_url="http://127.0.0.1:9", key="a" * 40):
        monkeypatch.delenv("WANDB_MODE")
        monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
        settings = SimpleNamespace(base_url=base_url, api_key=key)
        monkeypatch.setattr(wandb, "setup", lambda: SimpleNamespace(settings=settings))

    return put


ONLINE = LoggerSettings(csv=True, wandb=True, project="faces")
OFFLINE = ONLINE.replaced(offline=True)


def test_a_run_goes_online_only_with_a_key_and_a_server_that_responds(client, tmp_path):
    class Refuses(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_error(404)

        def log_message(self, *_):
            pass

    assert wandb_client.why_offline(ONLINE) == "WANDB_MODE=offline"
    assert wandb_client.why_offline(OFFLINE) == "logger.offline=true"
    client()
    assert "127.0.0.1:9 can't be reached" in wandb_client.why_offline(ONLINE)
    with http.server.HTTPServer(("127.0.0.1", 0), Refuses) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        here = f"http://127.0.0.1:{server.server_port}"
        client_again = SimpleNamespace(settings=SimpleNamespace(base_url=here, api_key=None))
        wandb.setup = lambda: client_again  # put back by the fixture
        assert "no API key" in wandb_client.why_offline(ONLINE)
        (tmp_path / "netrc").write_text(f"machine 127.0.0.1:{server.server_port} login user password {'a' * 40}\n")
        assert wandb_client.why_offline(ONLINE) is None
        server.shutdown()


def test_a_server_without_a_response_is_waited_for_a_moment(client, monkeypatch):
    import socket

    monkeypatch.setattr(wandb_client, "SERVER_TIMEOUT", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        client(f"http://127.0.0.1:{silent.getsockname()[1]}")
        assert "timed out" in wandb_client.why_offline(ONLINE)


def test_the_overrides_of_a_run_are_its_name(tmp_path):
    overrides = ["lr=5e-4", "+optimizer.beta=1", "out=x", "logger=wandb", "logger.tags=[a]", "callbacks.progress=false"]
    (tmp_path / "overrides.yaml").write_text(yaml.safe_dump(overrides))
    assert wandb_client.run_name(RunFolder(tmp_path)) == "lr=5e-4 +optimizer.beta=1"
    (tmp_path / "overrides.yaml").write_text("[]\n")
    assert wandb_client.run_name(RunFolder(tmp_path)) == tmp_path.name


def test_the_name_of_a_run_is_not_longer_than_wandb_allows(tmp_path):
    job = RunFolder(tmp_path / "seed-1_lr-1e-3")
    job.path.mkdir()
    overrides = [f"data.images={'x' * 130}", "seed=1"]
    job.overrides.write_text(yaml.safe_dump(overrides))
    name = wandb_client.run_name(job)
    assert len(name) == 128
    assert name.startswith("data.images=x")
    assert name.endswith("x seed=1")
    (tmp_path / "sweep.yaml").touch()
    assert wandb_client.run_name(job) == "seed-1_lr-1e-3"


def test_a_folder_keeps_the_identity_of_its_run(tmp_path):
    first = wandb_client.wandb_identity(RunFolder(tmp_path))
    assert wandb_client.wandb_identity(RunFolder(tmp_path)) == first
    assert len(first["id"]) == 12
    assert first["group"] is None
    assert wandb_client.wandb_identity(RunFolder(tmp_path / "other"))["id"] != first["id"]


@pytest.mark.parametrize(("sweep", "taken"), [("abcd1234", True), (None, False)])
def test_a_sweep_s_agent_chooses_the_id(monkeypatch, tmp_path, sweep, taken):
    monkeypatch.setenv("WANDB_RUN_ID", "run1")
    monkeypatch.setenv("WANDB_SWEEP_ID", sweep) if sweep else monkeypatch.delenv("WANDB_SWEEP_ID", raising=False)
    assert (wandb_client.wandb_identity(RunFolder(tmp_path))["id"] == "run1") == taken
