"""Decisions and what they promise: rules, their words, and the false discovery rate."""

import math
from typing import Any

import pytest
import torch

from models.core.calibration.conformal import Calibration, benjamini_hochberg
from models.core.calibration.rule import Guarantee, Rule


def plain(num: int = 1000) -> Calibration:
    """Scores 0 to num - 1."""
    return Calibration(torch.arange(num).float())


@pytest.mark.parametrize(("guarantee", "rank"), [("marginal", 50), ("pac", 39)])
def test_a_rule_flags_beyond_its_rank(guarantee: Guarantee, rank: int) -> None:
    rule = Rule.of(plain(), 0.05, guarantee)
    scores = torch.tensor([1000.0 - rank - 1, 1000.0 - rank, 1000.0 - rank + 0.5, math.nan])
    found = rule.judge(scores)
    assert found.is_ood.tolist() == [False, False, True, True]
    assert found.threshold.tolist() == [1000.0 - rank] * 4
    assert found.p_value.tolist() == [(rank + 2) / 1001, (rank + 1) / 1001, rank / 1001, 1 / 1001]
    assert rule.effective_alpha == rank / 1001
    assert rule.k_star == (rank if guarantee == "pac" else None)


def test_the_strict_rule_keeps_its_own_bound_below_alpha() -> None:
    strict, plain_rule = Rule.of(plain(), 0.05, "pac"), Rule.of(plain(), 0.05)
    assert strict.rate_bound is not None
    assert plain_rule.rate_bound is not None
    assert strict.rate_bound <= 0.05 < plain_rule.rate_bound
    assert plain_rule.rate_bound == pytest.approx(0.0618, abs=5e-5)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"alpha": 0.0001}, "allow 0.001 <= alpha"),
        ({"alpha": 0.002, "guarantee": "pac"}, "1497 are needed"),
        ({"alpha": 0.1, "guarantee": "class_conditional"}, "knows no classes"),
    ],
)
def test_what_cannot_be_promised_is_refused(given: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Rule.of(plain(), **given)


def test_the_words_hold_the_numbers() -> None:
    source = "1,000 held-out images"
    text = Rule.of(plain(), 0.05).sentence(source)
    for part in ("1000", source, "0.05 ", "on average", "below 0.06176 with 0.95 confidence"):
        assert part in text
    assert text.endswith("does not bound the share of others that is missed")
    text = Rule.of(plain(), 0.05, "pac", 0.1).sentence(source, "rows")
    assert "rows like" in text
    assert "p_value <= 41/1001" in text
    assert "0.9 confidence" in text
    assert "average" not in text


def test_the_false_discovery_rate_of_mixtures_is_at_its_level() -> None:
    generator = torch.Generator().manual_seed(0)
    num, strange, level = 50, 15, 0.2
    calibrations = torch.randn(400, 500, generator=generator)
    scores = torch.randn(400, num, generator=generator)
    scores[:, :strange] += 3
    shares, found = 0.0, 0
    for calibration, new in zip(calibrations, scores, strict=True):
        rejected = benjamini_hochberg(Calibration.fit(calibration).p_value(new)) <= level
        shares += float(rejected[strange:].sum()) / max(int(rejected.sum()), 1) / 400
        found += int(rejected[:strange].sum())
    # The level of the procedure is level * 35 / 50 = 0.14; shares scatter by about 0.1.
    assert 0.11 <= shares <= 0.155
    assert found > 0.9 * 400 * strange
