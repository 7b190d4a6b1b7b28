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


def test_the_first_of_several_is_named_whatever_lies_between():
    values = {"a": torch.ones(2), "b": [torch.ones(1), {"c": torch.tensor(torch.inf)}], "d": torch.tensor(torch.nan)}
    assert first_not_finite(values) == "b.1.c"
    assert first_not_finite(values, "state") == "state.b.1.c"
    assert first_not_finite({"a": torch.ones(2, dtype=torch.int64), "b": ()}) is None
