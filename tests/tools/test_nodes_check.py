"""`tools/nodes` as far as it goes without root: what is missing is named, hosts are removed, numbers compared."""

import importlib
import sys

import pandas as pd
import pytest
import torch
from tools.nodes import hosts

from facekp.core.errors import UserError
from facekp.networks.base import NETWORKS
from tools import nodes_check


@pytest.mark.parametrize(("program", "user", "message"), [(None, 0, "iproute2"), ("ip", 1000, "start this as root")])
def test_without_root_or_ip_one_line_says_so_and_the_exit_code_is_2(monkeypatch, capsys, program, user, message):
    monkeypatch.setattr(hosts.shutil, "which", lambda name: program)
    monkeypatch.setattr(hosts.os, "geteuid", lambda: user)
    monkeypatch.setattr(sys, "argv", ["nodes_check"])
    with pytest.raises(SystemExit) as ended:
        nodes_check.main()
    assert ended.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert message in line


@pytest.fixture
def commands(monkeypatch):
    """What is called instead of `ip`: the arguments of each call; the third one fails."""
    given = []

    def ip(command, **options):
        given.append(command[1:])
        fails = command[1:3] == ["link", "add"]
        return hosts.subprocess.CompletedProcess(command, fails, "", "Operation not permitted" if fails else "")

    monkeypatch.setattr(hosts.shutil, "which", lambda name: name)
    monkeypatch.setattr(hosts.os, "geteuid", lambda: 0)
    monkeypatch.setattr(hosts.subprocess, "run", ip)
    return given


def test_hosts_that_can_t_be_made_are_removed(commands):
    with pytest.raises(UserError, match=r"ip link add .*Operation not permitted"), hosts.TwoHosts({}) as two:
        pytest.fail(f"{two} started")
    made = [command[2] for command in commands if command[:2] == ["netns", "add"]]
    assert len(made) == 2
    assert [command[2] for command in commands if command[:2] == ["netns", "delete"]] == made


def test_each_host_has_its_own_rank_and_both_the_first_host_s_address():
    first, second = (hosts.torchrun(rank, "out=run") for rank in (0, 1))
    assert [a for a, b in zip(first, second, strict=True) if a != b] == ["--node-rank=0"]
    assert {"--nnodes=2", "--master-addr=10.0.0.1", "trainer=multi_node", "out=run"} <= set(second)


def test_the_largest_relative_difference_counts():
    alone = pd.DataFrame({"train/loss": [2.0, 1.0], "val/loss": [1.0, 1.0], "val/rmse": [4.0, 4.0]})
    differences = nodes_check.compared(alone, alone.assign(**{"train/loss": [2.0, 1.1], "val/rmse": [3.0, 4.0]}))
    assert differences == pytest.approx({"train/loss": 0.1, "val/loss": 0.0, "val/rmse": 0.25})
    with pytest.raises(AssertionError, match="2 and 1 epochs"):
        nodes_check.compared(alone, alone[:1])


def test_outputs_of_the_network_with_group_norm_do_not_depend_on_the_rest_of_the_batch():
    group_norm = importlib.import_module("tools.nodes.group_norm")
    NETWORKS.entries.pop("group_norm", None)  # other tests see the networks of facekp alone
    network, images = group_norm.GroupNormNetwork(heatmaps=3).train(), torch.rand(4, 1, 16, 16)
    (whole,), (part,) = network(images), network(images[1:2])
    torch.testing.assert_close(whole[1:2], part)
