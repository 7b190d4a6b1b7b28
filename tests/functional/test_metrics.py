"""Pooled errors against numpy, in uneven batches and in two processes."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import distributed, multiprocessing

from facekp.functional.metrics import KeypointErrors, mean_face


def labelled(scheme, n=37, seed=0):
    generator = torch.Generator().manual_seed(seed)
    truth = torch.rand(n, 15, 2, generator=generator) * 95
    truth[torch.rand(n, 15, generator=generator) < 0.5] = torch.nan
    truth[0, :2] = torch.tensor([[60.0, 40.0], [30.0, 40.0]])  # one face whose eyes are labelled
    found = torch.nan_to_num(truth) + 2 * torch.randn(n, 15, 2, generator=generator)
    return found, truth, torch.randint(0, 2, (n,), generator=generator)


def by_hand(found, truth, source, scheme):
    error = (found - truth).numpy().astype(np.float64)
    rmse = lambda e: np.sqrt(np.nanmean(e**2))  # noqa: E731
    figures = {"rmse": rmse(error)}
    for s, name in enumerate(scheme.source_names):
        figures[f"rmse/{name}"] = rmse(error[source.numpy() == s])
    for k, name in enumerate(scheme.names):
        figures[f"rmse/{name}"] = rmse(error[:, k])
    distance = np.linalg.norm(error, axis=-1)
    eyes = np.linalg.norm((truth[:, 0] - truth[:, 1]).numpy(), axis=-1)
    figures["nme"] = np.nanmean(distance / eyes[:, None])
    return figures, distance


def test_figures_equal_numpy_whatever_the_batches(scheme):
    found, truth, source = labelled(scheme)
    expected, distance = by_hand(found, truth, source, scheme)
    errors = KeypointErrors(scheme)
    for part in torch.arange(37).split([1, 20, 3, 13]):
        errors.update(found[part], truth[part], source[part])
    summary = errors.summary()
    for name, value in expected.items():
        assert summary[name] == pytest.approx(value, rel=1e-5), name
    assert summary["labelled_values"] == np.isfinite(truth.numpy()).sum()
    at = summary["curve"]["pixels"].index(3.0)
    assert summary["curve"]["share"][at] == pytest.approx((distance[~np.isnan(distance)] < 3.0).mean(), abs=1e-6)


def test_without_a_normaliser_there_is_no_nme(scheme):
    plain = replace(scheme, normaliser=None)
    errors = KeypointErrors(plain)
    errors.update(*labelled(plain))
    figures = errors.summary()
    assert "nme" not in figures
    assert figures["rmse"] > 0


def test_a_mean_of_batch_figures_would_be_wrong(scheme):
    truth = torch.zeros(4, 15, 2)
    errors = KeypointErrors(scheme)
    errors.update(truth[:3] + 1, truth[:3], torch.zeros(3))
    errors.update(truth[3:] + 5, truth[3:], torch.zeros(1))
    assert errors.compute()["rmse"].item() == pytest.approx(np.sqrt((3 * 1 + 25) / 4))


def test_mean_face_is_by_source_and_falls_back_to_all_rows(scheme):
    points = np.full((3, 15, 2), np.nan, dtype=np.float32)
    points[0], points[1, 0], points[2, 0] = 10.0, 20.0, 40.0
    face = mean_face(points, np.array([0, 1, 1]), scheme)
    assert face[1, 0].tolist() == [30.0, 30.0]
    assert face[0, 0].tolist() == [10.0, 10.0]
    assert face[1, 5].tolist() == [10.0, 10.0]  # sparse rows never label it


def _worker(rank, file, scheme, queue):
    distributed.init_process_group("gloo", init_method=f"file://{file}", rank=rank, world_size=2)
    found, truth, source = labelled(scheme)
    errors = KeypointErrors(scheme)
    mine = torch.arange(37)[rank::2]  # 19 and 18 rows
    errors.update(found[mine], truth[mine], source[mine])
    figures = errors.summary()
    if rank == 0:
        queue.put(figures)
    distributed.barrier()
    distributed.destroy_process_group()


def test_two_processes_with_an_odd_number_of_rows_equal_one(scheme, tmp_path):
    whole = KeypointErrors(scheme)
    whole.update(*labelled(scheme))
    context = multiprocessing.get_context("spawn")
    queue = context.Queue()
    workers = [context.Process(target=_worker, args=(r, tmp_path / "meet", scheme, queue)) for r in range(2)]
    for worker in workers:
        worker.start()
    together = queue.get(timeout=120)
    for worker in workers:
        worker.join(timeout=60)
    alone = whole.summary()
    assert together["labelled_values"] == alone["labelled_values"]
    for name in ("rmse", "rmse/dense", "rmse/sparse", "rmse/nose_tip", "nme"):
        assert together[name] == pytest.approx(alone[name], rel=1e-6), name
    np.testing.assert_allclose(together["curve"]["share"], alone["curve"]["share"], atol=1e-6)
