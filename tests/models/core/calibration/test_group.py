"""The group test: its level by simulation and by enumeration, its power against shifts."""

import math

import pytest
import torch
from torch import Tensor

from models.core.calibration.conformal import Calibration
from models.core.calibration.group import CLIP, group_test, num_groups, z_covariance

SIZES = (5, 10, 25)
MIX = torch.tensor([[1.0, 0.0, 0.0], [0.6, 0.8, 0.0], [-0.5, 0.3, 0.81]], dtype=torch.float64)


def z_values(num: int, generator: torch.Generator, shift: float = 0.0) -> Tensor:
    """Correlated z-values of three components, with heavy tails and about `shift`."""
    plain = torch.randn(num, 3, generator=generator, dtype=torch.float64) @ MIX.T
    stretch = 1 + 2 * (torch.rand(num, 1, generator=generator) < 0.02)
    return plain * stretch + shift


def screen_like(num: int, generator: torch.Generator) -> Calibration:
    """A calibration as screens have it, its covariance from other images."""
    reference = z_covariance(z_values(500, generator))
    z = z_values(num, generator)
    return Calibration.fit(z.sum(1), reference, z)


def share_flagged(num: int, shift: float, kind: str, alpha: float = 0.1) -> tuple[int, int]:
    """Alarms over many calibration sets and groups of this size, and how many groups there were."""
    generator = torch.Generator().manual_seed(1000 * num + int(10 * shift))
    alarms, total = 0, 0
    for _ in range(40):
        calibration = screen_like(20 * num, generator)
        z = z_values(10 * num, generator, shift)
        for part in z.split(num):
            found = group_test(calibration, part.sum(1), part if kind == "z" else None)
            alarms += found.p_value <= alpha
            total += 1
    return alarms, total


@pytest.mark.parametrize("kind", ["z", "scores"])
@pytest.mark.parametrize("num", SIZES)
def test_the_level_holds(num: int, kind: str) -> None:
    alarms, total = share_flagged(num, 0.0, kind)
    # 20 groups give the level floor(0.1 * 21) / 21. What one set gives is a draw from Beta(2, 19),
    # shared by ten groups, so that the alarms scatter by 7.
    assert abs(alarms - total * 2 / 21) < 25


@pytest.mark.parametrize("kind", ["z", "scores"])
@pytest.mark.parametrize(("num", "least"), [(5, 0.55), (25, 0.97)])
def test_groups_find_what_single_images_hide(num: int, least: float, kind: str) -> None:
    alarms, total = share_flagged(num, 0.6, kind)
    assert alarms >= least * total
    generator = torch.Generator().manual_seed(5)
    calibration = screen_like(1000, generator)
    alone = calibration.p_value(z_values(1000, generator, 0.6).sum(1)) <= 0.1
    assert alone.double().mean() < 0.45


def test_the_level_is_exact_over_all_groupings() -> None:
    # The p-values of a set of groups, each in turn the new one, are uniform without ties.
    generator = torch.Generator().manual_seed(2)
    scores = torch.randn(6, 4, generator=generator).float()
    found = []
    for i in range(6):
        rest = torch.cat([scores[:i], scores[i + 1 :]])
        stats = (rest.double().mean(1) - scores.double().mean()).abs()
        own = (scores[i].double().mean() - scores.double().mean()).abs()
        found.append((1 + int((stats >= own).sum())) / 6)
    assert sorted(found) == [k / 6 for k in range(1, 7)]
    # The same statistic is what the test gives for a calibration whose groups are these.
    calibration = Calibration.fit(scores[1:].flatten())
    assert group_test(calibration, scores[0]).statistic == pytest.approx(
        float((scores[0].double().mean() - scores.double().mean()).abs())
    )


def test_the_groups_are_disjoint_and_as_many_as_fit() -> None:
    calibration = Calibration.fit(torch.arange(23.0))
    assert num_groups(calibration, 5) == 4
    found = group_test(calibration, torch.full((5,), 99.0))
    assert (found.num_groups, found.p_value) == (4, 1 / 5)
    assert group_test(calibration, torch.full((24,), 99.0)).p_value == 1.0
    # Each score once: of groups of one, half are farther from the middle than the quarter is.
    single = group_test(calibration, torch.tensor([5.25]))
    assert single.p_value == (1 + 12) / 24


def test_the_statistic_of_z_is_mahalanobis_distance() -> None:
    generator = torch.Generator().manual_seed(4)
    calibration = screen_like(100, generator)
    assert isinstance(calibration.reference, Tensor)
    z = z_values(7, generator)
    covariance = calibration.reference.view(3, 3)
    mean = z.clamp(-CLIP, CLIP).mean(0)
    expected = math.sqrt(7 * float(mean @ covariance.inverse() @ mean))
    assert group_test(calibration, z.sum(1), z).statistic == pytest.approx(expected, rel=1e-9)


def test_one_component_is_cut_and_what_is_no_number_is_strange() -> None:
    reference = z_covariance(torch.tensor([[1.0], [-1.0], [100.0]]))
    assert reference.tolist() == pytest.approx([(1 + 1 + CLIP**2) / 3])
    z = torch.linspace(-2, 2, 40)[:, None]
    calibration = Calibration.fit(z[:, 0], reference, z)
    far, nan = torch.tensor([[1e6], [0.0]]), torch.tensor([[math.nan], [0.0]])
    cut = torch.tensor([[CLIP], [0.0]])
    found = [group_test(calibration, torch.zeros(2), rows) for rows in (far, nan, cut)]
    assert found[0] == found[1] == found[2]
    assert found[0].p_value == 1 / 21


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_score_that_is_no_number_makes_the_group_strange(bad: float) -> None:
    found = group_test(Calibration.fit(torch.arange(30.0)), torch.tensor([15.0, bad, 15.0]))
    assert (found.statistic, found.p_value) == (math.inf, 1 / 11)


def test_equal_groups_tie_in_any_order() -> None:
    values = torch.tensor([0.1, 0.2, 0.3, 0.7, 1.1])
    calibration = Calibration.fit(values)
    for order in ([0, 1, 2, 3, 4], [4, 2, 0, 1, 3], [3, 4, 1, 0, 2]):
        assert group_test(calibration, values[order]).p_value == 1.0


def test_other_scores_are_grouped_anew() -> None:
    # One shuffle for all sets would put the same ranks together in each of them.
    found = set()
    for last in torch.linspace(11, 12, 20).tolist():
        calibration = Calibration.fit(torch.tensor([0.0, 1.0, 10.0, last]))
        found.add(group_test(calibration, torch.tensor([8.0, 8.0])).p_value)
    # Means 0.5 and 10.5 are both farther from the middle than 8 is, those of other pairs are not.
    assert {1.0, 1 / 3} <= found


def test_the_answer_is_the_same_every_time() -> None:
    scores = torch.randn(50, generator=torch.Generator().manual_seed(0))
    group = torch.tensor([0.5, 0.9, -0.2])
    first = group_test(Calibration.fit(scores), group)
    assert group_test(Calibration.fit(scores.flip(0)), group) == first


def test_a_reference_that_is_no_covariance_is_refused() -> None:
    z = torch.randn(20, 2, generator=torch.Generator().manual_seed(0))
    for reference in (0.0, torch.ones(3)):
        with pytest.raises(ValueError, match=r"no 2\^2 covariance"):
            group_test(Calibration.fit(z[:, 0], reference, z), z[:3, 0], z[:3])


def test_components_that_say_the_same_are_no_division_by_zero() -> None:
    z = torch.randn(200, 1, generator=torch.Generator().manual_seed(0)).repeat(1, 2)
    calibration = Calibration.fit(z[:, 0], z_covariance(z), z)
    found = group_test(calibration, z[:4, 0], z[:4])
    single = Calibration.fit(z[:, 0], z_covariance(z[:, :1]), z[:, :1])
    assert found.statistic == pytest.approx(group_test(single, z[:4, 0], z[:4, :1]).statistic)
