"""Stopping rules: each fires at its bound, says why, and not before."""

from __future__ import annotations

from openevolve_unified.config.schema import StoppingConfig
from openevolve_unified.judgement.compare import Standing
from openevolve_unified.judgement.diversity import Proposed, diversity
from openevolve_unified.plugin.stopping import StoppingRules
from openevolve_unified.records import Traits


def scored(value):
    return Standing(value=value, stderr=0.0)


def rules(patience=0, invalid=0, fraction=0.0, backend=0):
    config = StoppingConfig(
        patience_iterations=patience,
        max_invalid_in_a_row=invalid,
        max_nonfinite_fraction=fraction,
        max_backend_failures=backend,
    )
    return StoppingRules(config, best=scored(0.1))


def test_no_improvement_stops_after_the_patience():
    stopping = rules(patience=3)
    assert stopping.observe_trained(scored(0.1)) is None
    assert stopping.observe_trained(scored(0.2)) is None, "an improvement"
    assert stopping.observe_trained(scored(0.2)) is None
    assert stopping.observe_rejection("causality") is None
    assert "no improvement in 3 iterations" in stopping.observe_trained(scored(0.15))


def test_invalid_candidates_must_be_in_a_row():
    stopping = rules(invalid=2)
    assert stopping.observe_rejection("trace") is None
    assert stopping.observe_trained(scored(0.0)) is None
    assert stopping.observe_rejection("trace") is None
    assert "2 invalid candidates in a row" in stopping.observe_rejection("block")


def test_divergence_of_more_than_half_stops():
    stopping = rules(fraction=0.5)
    for _ in range(3):
        assert stopping.observe_trained(scored(0.0)) is None
    for _ in range(3):
        assert stopping.observe_rejection("diverged") is None
    assert "4 of 7 trained candidates diverged" in stopping.observe_rejection("diverged")


def test_a_dead_backend_stops_and_an_answer_revives_it():
    stopping = rules(backend=2)
    assert stopping.observe_backend_failure("HTTP 500") is None
    assert stopping.observe_rejection("answer") is None
    assert stopping.observe_backend_failure("HTTP 500") is None
    assert "HTTP 500" in stopping.observe_backend_failure("HTTP 500")


def test_rules_set_to_zero_never_fire():
    stopping = rules()
    for _ in range(30):
        assert stopping.observe_rejection("trace") is None
        assert stopping.observe_backend_failure("x") is None
        assert stopping.observe_rejection("diverged") is None


def test_an_improvement_is_set_against_what_is_known_of_the_best_by_now():
    for renewed, is_stopped in ((None, True), (0.2, False)):
        ruling = StoppingRules(StoppingConfig(patience_iterations=1), scored(0.5))
        if renewed is not None:
            ruling.renew_best(scored(renewed))
        assert (ruling.observe_trained(scored(0.3)) is not None) is is_stopped


def searched(num_stale):
    """The diversity of a search whose latest proposals brought nothing."""
    one = Traits(bigrams={}, outputs=((1.0,),))
    programs = [Proposed(program=f"p{n}", traits=one) for n in range(num_stale + 1)]
    return diversity(programs)


def test_a_converged_search_stops_only_where_it_is_asked_for():
    asked = StoppingRules(StoppingConfig(convergence_proposals=3), scored(0.1))
    assert asked.observe_diversity(searched(2)) is None
    reason = asked.observe_diversity(searched(3))
    assert "the search has converged: the last 3 legal proposals" in reason
    assert "scaling_law.stopping.convergence_proposals" in reason
    assert not rules().asks_for_convergence
    assert rules().observe_diversity(searched(30)) is None
