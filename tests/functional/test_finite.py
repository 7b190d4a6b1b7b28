"""Numbers that are not finite are found in nested values and named."""

import pytest
import torch

from facekp.functional.finite import first_not_finite


@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf])
def test_the_first_tensor_that_is_not_finite_is_named(value):
    state = {"weights": {"a": torch.zeros(3)}, "optimizer": [{"state": {0: {"exp_avg": torch.tensor([1.0, value])}}}]}
    assert first_not_finite(state) == "optimizer.0.state.0.exp_avg"


def test_whole_numbers_texts_and_missing_parts_are_passed_over():
    assert first_not_finite({"a": torch.tensor([1, 2]), "b": None, "c": "nan", "d": float("nan"), "e": []}) is None
    assert first_not_finite({"half": torch.tensor([1e5]).half()}) == "half"
