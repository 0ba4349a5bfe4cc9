"""Places by guarantees, two standard errors apart."""

from __future__ import annotations

import json
import math

import pytest
from compare.folders import bits, fd, sentences, write_run

from genmodels.compare import FORMATS, compared, find_runs
from genmodels.compare.ranking import interval, standing
from genmodels.core import Kind, Score


def ranks(tmp_path, **scores):
    for model, score in scores.items():
        write_run(tmp_path / model, model, score)
    (cells,) = compared(find_runs(tmp_path)).columns.values()
    return {label: str(cell.place) for label, cell in cells.items()}


def test_a_score_ranks_above_another_only_by_two_standard_errors(tmp_path):
    found = ranks(tmp_path, a=fd(10.0, 0.1), b=fd(10.3, 0.1), c=fd(10.5, 0.04))
    assert found == {"a": "#1=", "b": "#1=", "c": "#2="}


def test_higher_is_better_where_it_is(tmp_path):
    assert ranks(tmp_path, a=fd(0.5, 0.01, better="higher"), b=fd(0.9, 0.01, better="higher")) == {"a": "#2", "b": "#1"}


def test_bounds_are_placed_by_what_they_guarantee_and_show_nothing_of_each_other(tmp_path):
    found = ranks(tmp_path, flow=bits(1.209), vae=bits(1.283), ddpm=bits(1.435), twin=bits(1.22, n=100))
    assert found == {"flow": "#1=*", "twin": "#1=*", "vae": "#3", "ddpm": "#4"}


def test_an_exact_likelihood_can_be_shown_to_be_worse_than_a_bound_but_never_a_bound(tmp_path):
    found = ranks(
        tmp_path,
        low=bits(1.3),
        exact=bits(1.5, kind=Kind.EXACT),
        worse=bits(1.7, kind=Kind.EXACT),
        high=bits(9.0),
    )
    assert found == {"low": "#1*", "exact": "#2†", "worse": "#3†", "high": "#4"}
    groups = json.loads(FORMATS["json"](compared(find_runs(tmp_path))))["groups"]
    shown = {group["label"]: group["scores"][0]["shown_worse_than"] for group in groups}
    assert shown == {"low": "", "exact": "low", "worse": "exact; low", "high": ""}
    assert [group["label"] for group in groups if group["scores"][0]["best_guarantee"]] == ["low"]


def test_what_guarantees_nothing_is_never_first_among_guarantees(tmp_path):
    kinds = {"estimate": Kind.ESTIMATE, "at_least": Kind.UPPER_BOUND}
    found = ranks(tmp_path, bound=bits(1.5), **{name: bits(1.2, kind=kind) for name, kind in kinds.items()})
    assert found == {"bound": "#1=*", "estimate": "#1=", "at_least": "#1="}


def test_what_guarantees_nothing_can_be_shown_to_be_worse(tmp_path):
    kinds = {"estimate": Kind.ESTIMATE, "at_least": Kind.UPPER_BOUND}
    found = ranks(tmp_path, bound=bits(1.5), **{name: bits(1.7, kind=kind) for name, kind in kinds.items()})
    assert found == {"bound": "#1*", "estimate": "#2=†", "at_least": "#2=†"}


def test_the_best_guarantee_in_nats_is_the_highest(tmp_path):
    nats = {"a": (-2.0, Kind.LOWER_BOUND), "b": (-1.0, Kind.LOWER_BOUND), "c": (-3.0, Kind.EXACT)}
    scores = {name: Score("nats", value, "nats", 100, 0.1, kind, "higher") for name, (value, kind) in nats.items()}
    assert ranks(tmp_path, **scores) == {"b": "#1*", "a": "#2", "c": "#3†"}


def test_distances_have_places_but_neither_guarantee_nor_likelihood(tmp_path):
    assert ranks(tmp_path, a=fd(1.0), b=fd(2.0)) == {"a": "#1", "b": "#2"}


def test_bounds_on_nats_are_reversed():
    nats = Score("nats", -2.0, "nats", 100, 0.1, Kind.LOWER_BOUND, "higher")
    assert interval(nats, 0.1) == (-2.2, math.inf)
    divergence = Score("kl_to_truth", 0.5, "nats", 100, 0.1, Kind.UPPER_BOUND, "lower")  # prints <=
    assert interval(divergence, 0.1) == (-math.inf, 0.7)


@pytest.mark.parametrize("score", [fd(1.0, None), fd(1.0, flag="not converged"), fd(math.nan), fd(math.inf, math.nan)])
def test_nothing_is_known_of_a_number_without_error_or_with_a_flag(tmp_path, score):
    assert interval(score, score.se) == (-math.inf, math.inf) and standing(score, score.se) is None
    assert ranks(tmp_path, a=score, b=fd(5.0), c=fd(9.0)) == {"b": "#1", "c": "#2", "a": "None"}


def test_scores_without_a_standard_error_are_named_and_have_no_place(tmp_path):
    assert ranks(tmp_path, a=fd(1.0, None), b=fd(9.0)) == {"a": "None", "b": "None"}  # one place alone says nothing
    assert "fd_digits_360 of a has no standard error" in sentences(compared(find_runs(tmp_path)))
