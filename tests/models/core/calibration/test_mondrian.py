"""p-values within predicted classes: by enumeration, by simulation, and where classes are small."""

import pytest
import torch

from models.core.calibration.conformal import Calibration
from models.core.calibration.mondrian import by_category, p_value_by_category
from models.core.calibration.rule import ClassTooSmall, Guarantee, Rule

NAMES = ("circle", "square", "star")
SCORES = torch.tensor([5.0, 1.0, 4.0, 2.0, 3.0, 9.0])
CATEGORY = torch.tensor([0, 1, 0, 1, 0, -1])


def calibration() -> Calibration:
    """Three circles with scores 3 to 5, two squares with 1 and 2, one image of no class."""
    return Calibration.fit(SCORES, category=CATEGORY)


def test_an_image_is_compared_with_its_class_only() -> None:
    score = torch.tensor([2.5, 2.5, 4.0, 4.5, 2.5])
    category = torch.tensor([0, 1, 0, 1, 2])
    found = p_value_by_category(calibration(), score, category)
    assert found.tolist() == [4 / 4, 1 / 3, 3 / 4, 1 / 3, 1.0]
    assert {index: part.num for index, part in by_category(calibration()).items()} == {0: 3, 1: 2}


@pytest.mark.parametrize("category", [None, torch.full((6,), -1)])
def test_without_predicted_classes_there_is_no_such_guarantee(category: torch.Tensor) -> None:
    with pytest.raises(ValueError, match="accepted are screens with a classifier"):
        Rule.of(Calibration.fit(SCORES, category=category), 0.5, "class_conditional")


def test_each_class_has_its_threshold() -> None:
    rule = Rule.of(calibration(), 0.4, "class_conditional")
    score = torch.tensor([6.0, 4.5, 2.5, 1.5])
    category = torch.tensor([0, 0, 1, 1])
    found = rule.judge(score, category, NAMES)
    assert found.is_ood.tolist() == [True, False, True, False]
    assert found.threshold.tolist() == [5.0, 5.0, 2.0, 2.0]
    assert torch.equal(found.is_ood, score > found.threshold)
    assert rule.effective_alpha is rule.rate_bound is rule.k_star is None


def test_a_class_too_small_for_alpha_is_refused_by_name_and_size() -> None:
    rule = Rule.of(calibration(), 0.3, "class_conditional")
    assert rule.judge(torch.tensor([9.0]), torch.tensor([0]), NAMES).is_ood.tolist() == [True]
    with pytest.raises(ClassTooSmall, match=r"image 1 .* square, .* 2 calibration .* 0\.34") as why:
        rule.judge(torch.tensor([9.0, 9.0]), torch.tensor([0, 1]), NAMES)
    assert why.value.row == 1
    with pytest.raises(ClassTooSmall, match="class star, of which there are 0"):
        rule.judge(torch.tensor([9.0]), torch.tensor([2]), NAMES)
    with pytest.raises(ValueError, match="no predicted classes"):
        rule.judge(torch.tensor([9.0]))


def test_every_class_keeps_the_level_that_the_marginal_rule_breaks() -> None:
    generator = torch.Generator().manual_seed(3)
    num, alpha = 400, 0.1
    flagged: dict[Guarantee, torch.Tensor] = {
        "marginal": torch.zeros(2),
        "class_conditional": torch.zeros(2),
    }
    for _ in range(40):
        # The scores of class 1 are wider, so that it bears the marginal false alarms.
        category = (torch.rand(2 * num, generator=generator) < 0.3).long()
        scores = torch.randn(2 * num, generator=generator) * (1 + 2 * category)
        fitted = Calibration.fit(scores[:num], category=category[:num])
        for name, found in flagged.items():
            rule = Rule.of(fitted, alpha, name)
            is_ood = rule.judge(scores[num:], category[num:]).is_ood
            for index in range(2):
                found[index] += is_ood[category[num:] == index].float().mean() / 40
    assert flagged["marginal"][1] > 0.2
    # One of 40 repeats scatters by about 0.03, so the mean by 0.005.
    torch.testing.assert_close(
        flagged["class_conditional"], torch.full((2,), alpha), atol=0.02, rtol=0
    )
