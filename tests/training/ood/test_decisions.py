"""Risk, coverage and who was sure and wrong, by hand and by enumeration."""

import itertools

import numpy as np
import pytest

from training.ood.decisions import Answers, decide, risk_by_coverage

OWN = Answers(
    np.array([0.99, 0.95, 0.5]), np.array([True, False, True]), np.array([0.5, 0.04, 0.9])
)
OTHER = Answers(np.array([0.97, 0.91]), np.array([False, False]), np.array([0.001, 0.3]))


def test_shares_are_counted_by_hand() -> None:
    found = decide(OWN + OTHER, alpha=0.05)
    assert found.num == 5
    assert found.wrong_and_certain_before == pytest.approx(3 / 5)
    assert found.wrong_and_certain_after == pytest.approx(1 / 5)
    assert found.right_and_certain_before == found.right_and_certain_after == pytest.approx(1 / 5)


def test_a_p_value_of_alpha_itself_is_strange() -> None:
    assert decide(OTHER, alpha=0.3).wrong_and_certain_after == 0


def test_risk_is_that_of_the_most_trusted() -> None:
    trusted, right = np.array([0.1, 0.9, 0.5]), np.array([True, False, True])
    assert risk_by_coverage(trusted, right) == pytest.approx([1, 1 / 2, 1 / 3])


def test_ties_have_the_mean_risk_of_all_their_orders() -> None:
    trusted = np.array([0.9, 0.5, 0.5, 0.5, 0.1])
    right = np.array([True, False, True, False, True])
    orders = [[0, *middle, 4] for middle in itertools.permutations((1, 2, 3))]
    by_hand = [(~right[o]).cumsum() / np.arange(1, 6) for o in orders]
    assert risk_by_coverage(trusted, right) == pytest.approx(np.mean(by_hand, 0))


def test_areas_are_those_of_both_orders() -> None:
    mixture = OWN + OTHER
    found = decide(mixture, alpha=0.05)
    # By softmax 0.99 R, 0.97 W, 0.95 W, 0.91 W, 0.5 R.
    assert found.aurc_softmax == pytest.approx(np.mean([0, 1 / 2, 2 / 3, 3 / 4, 3 / 5]))
    # The two strange ones last: 0.99 R, 0.91 W, 0.5 R, 0.97 W, 0.95 W.
    assert found.aurc_screened == pytest.approx(np.mean([0, 1 / 2, 1 / 3, 2 / 4, 3 / 5]))


def test_nothing_has_no_shares() -> None:
    none = np.zeros(0)
    with pytest.raises(ValueError, match="at least one"):
        decide(Answers(none, none.astype(bool), none), 0.05)
