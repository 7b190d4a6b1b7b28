"""What a search draws from: Hydra's notation, Optuna's distributions, and the overrides of a job."""

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from hypothesis import given
from hypothesis import strategies as st
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

from facekp.core.errors import UserError
from facekp.runs.searches.space import SearchSpace, distribution


def parsed(*overrides):
    return OverridesParser.create().parse_overrides(list(overrides))


DRAWN = {
    "a,b": CategoricalDistribution(("a", "b")),
    "1,null,'x, y',[a,b],1": CategoricalDistribution(("1", "null", "'x, y'", "[a,b]")),
    "choice(1)": CategoricalDistribution(("1",)),
    "interval(1, 2)": FloatDistribution(1, 2),
    "tag(log, interval(1e-4, 1e-2))": FloatDistribution(1e-4, 1e-2, log=True),
    "int(interval(1, 64))": IntDistribution(1, 64),
    "tag(log, int(interval(1, 64)))": IntDistribution(1, 64, log=True),
    "range(1, 4)": IntDistribution(1, 3),
    "range(8, 1, -2)": IntDistribution(2, 8, step=2),
    "range(0, 0.5, 0.2)": FloatDistribution(0, 0.4, step=0.2),
    "range(0, 1, 0.3)": FloatDistribution(0, 0.9, step=0.3),
    "range(1, 0, -0.3)": FloatDistribution(0.1, 1, step=0.3),
}


@pytest.mark.parametrize("written", DRAWN)
def test_optuna_draws_from_what_hydra_s_notation_means(written):
    assert distribution(parsed(f"lr={written}")[0]) == DRAWN[written]


NOTHING_DRAWN = {
    "a range the wrong way round": (["lr=range(9, 1)"], "lr=range.*nothing can be drawn"),
    "an interval the wrong way round": (["lr=interval(2, 1)"], "lr=interval.*nothing can be drawn"),
    "an interval without an end": (["lr=interval(0, inf)"], "lr=interval.*its ends must be finite numbers"),
    "a logarithm of zero": (["lr=tag(log, interval(0, 1))"], "lr=tag.*nothing can be drawn"),
    "a logarithm of names": (
        ["optimizer=tag(log, choice(sgd, adam))"],
        "optimizer=tag.*log is not supported here; only numbers",
    ),
    "an unknown tag": (["lr=tag(cubic, interval(0, 1))"], "lr=tag.*cubic is not supported"),
    "nothing searched": (["lr=1e-3"], "nothing to search"),
    "a setting of the search": (["lr=1,2", "hparams_search.seed=1,2"], "settings of the search can't be searched"),
}


@pytest.mark.parametrize("case", NOTHING_DRAWN)
def test_a_space_that_can_t_be_searched(case):
    overrides, message = NOTHING_DRAWN[case]
    with pytest.raises(UserError, match=message):
        SearchSpace(parsed(*overrides))


def test_the_overrides_of_a_job_have_the_drawn_values_in_the_order_of_the_search():
    space = SearchSpace(parsed("optimizer=sgd,adam", "hparams_search=optuna", "+x='a b'", "lr=interval(0,1)", "seed=3"))
    job = space.overrides({"optimizer": "adam", "lr": 0.000123456})
    assert job == ["optimizer=adam", "+x='a b'", "lr=0.0001235", "seed=3"]
    corners = [("sgd", 0.0), ("adam", 0.0), ("sgd", 0.0), ("sgd", 1.0)]
    assert space.corners() == [[f"optimizer={o}", "+x='a b'", f"lr={lr}", "seed=3"] for o, lr in corners]


@given(st.lists(st.floats(1e-7, 1e7), min_size=3, max_size=3).map(sorted))
def test_a_number_drawn_from_an_interval_is_short_and_stays_in_it(numbers):
    low, value, high = numbers
    space = SearchSpace(parsed(f"lr=interval({low!r}, {high!r})"))
    written = float(space.overrides({"lr": value})[0].removeprefix("lr="))
    assert low <= written <= high
    assert written == pytest.approx(value, rel=5e-4)
    assert written in (low, high) or len(f"{written:.10e}".split("e")[0].rstrip("0")) <= 5


def test_a_number_of_a_range_has_all_its_digits():
    space = SearchSpace(parsed("lr=range(1000, 1001, 0.01)"))
    assert space.overrides({"lr": 1000 + 0.01 * 37}) == ["lr=1000.37"]
