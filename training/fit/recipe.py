"""Everything that turns a family into one trained bundle, as data."""

import ast
import importlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any, get_type_hints

from pydantic import TypeAdapter, ValidationError

from models.core.contract.families import families
from models.core.contract.operation import Operation
from models.core.contract.setting import KEEPS_WEIGHTS
from training.data.splits import Dataset
from training.fit.objective import MeanLoss, Objective

SCREENS = "screen_"
"""How recipes begin that put trained models together; see `training.pipeline.screen_recipe`."""

_SECTIONS = ("config", "report")
"""Fields of a recipe that are dataclasses of settings."""


@dataclass(frozen=True, kw_only=True)
class Report:
    """How the trained model is measured; what does not suit its kind is not looked at."""

    judge_steps: int = 1500
    """Training steps of the classifier that judges conditional samples."""
    ais_chains: int = 128
    ais_steps: int = 300
    rated_params: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """Params of log_likelihood by a name for the figure, where the defaults are not what the test
    split is to be rated with; "" names none."""
    num_rated: int = 0
    """Test events that are rated, from the first; 0: all."""
    compared_params: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """Params of sample by a name for the figure: samplers whose feature-FID is measured."""
    num_compared: int = 2000
    """Samples of each of them."""


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """One bundle's settings; `--set key=value` changes any of them.

    Keys of `config`, of `objective_settings` and of `report` are reached by their own names.
    """

    family: str
    config: Any
    """The family's `Config`; event_shape and num_classes are filled in from the data."""
    dataset: str
    height: int = 0
    """Pixels of an image's side; sets of vectors have no size."""
    width: int = 0
    num_channels: int = 1
    """Colours of the images; the network's widths are the config's `channels`. 0: this and sides of
    0 are as a folder of pictures suggests."""
    invert: bool = False
    background: int = 0
    objective: type[Objective] = MeanLoss
    objective_settings: Mapping[str, Any] = field(default_factory=dict)
    adam_betas: tuple[float, float] = (0.9, 0.999)
    weight_decay: float = 0.0
    """Decoupled from the gradient (AdamW)."""
    gradient_clip: float = 1.0
    ema_decay: float = 0.999
    precision: str = "32-true"
    seed: int = 0
    num_threads: int = field(default=1, metadata=KEEPS_WEIGHTS)
    max_restarts: int = 5
    checkpoint_every: int = 500
    validate_every: int = 500
    """Steps between looks at the validation split; the best weights of all looks are kept."""
    max_validated: int = 2000
    """Events of the validation split that are looked at."""
    report: Report = field(default=Report(), metadata=KEEPS_WEIGHTS)
    graphs: tuple[str, ...] | None = field(default=None, metadata=KEEPS_WEIGHTS)
    """Graphs to export beside the weights; None: all that the model has."""
    ood_scores: tuple[str, ...] = field(default=(), metadata=KEEPS_WEIGHTS)
    """Scores to calibrate; the first is the default."""
    ood_sets: Mapping[str, bool] = field(default_factory=dict, metadata=KEEPS_WEIGHTS)
    """Other data sets for the report, and whether each must be inverted to match."""

    def changed(self, changes: Mapping[str, str]) -> "Recipe":
        """With values read from text. Raises ValueError for an unknown key or a bad value."""
        recipe = self
        own = {f.name for f in fields(self)}
        own -= {"family", "config", "objective", "objective_settings", "report"}
        of_objective = set(self.objective_defaults)
        of_section = {
            f.name: section for section in _SECTIONS for f in fields(getattr(self, section))
        }
        for key, text in changes.items():
            if key in own:
                recipe = replace(recipe, **{key: _value(Recipe, key, text)})
            elif key in of_section:
                section = getattr(recipe, of_section[key])
                changed = replace(section, **{key: _value(type(section), key, text)})
                recipe = replace(recipe, **{of_section[key]: changed})
            elif key in of_objective:
                value = _value(self.objective.__init__, key, text)
                settings = {**recipe.objective_settings, key: value}
                recipe = replace(recipe, objective_settings=settings)
            else:
                accepted = ", ".join(sorted(own | set(of_section) | of_objective))
                raise ValueError(f"unknown setting {key!r}: accepted are {accepted}")
        return recipe

    @property
    def objective_defaults(self) -> dict[str, Any]:
        """The objective's settings where `objective_settings` names no others."""
        return dict(self.objective.__init__.__kwdefaults__ or {})

    def config_for(self, data: Dataset) -> Any:
        """The family's config with the shapes that the data dictate.

        num_classes = 0 stays: such a model is about the events alone.
        """
        known = {f.name: getattr(self.config, f.name) for f in fields(self.config)}
        dictated: dict[str, Any] = {"event_shape": data.splits["train"].x.shape[1:]}
        if known.get("num_classes"):
            dictated["num_classes"] = len(data.class_names)
        return replace(self.config, **{k: v for k, v in dictated.items() if k in known})

    @property
    def form(self) -> dict[str, Any]:
        """What the images are made to look like, as `load` takes it."""
        return {
            "height": self.height,
            "width": self.width,
            "channels": self.num_channels,
            "background": self.background,
            "levels": (getattr(self.config, "num_levels", 256) or 256) if self.height else 256,
        }


def recipes() -> tuple[str, ...]:
    """Names of all recipes, as the command takes them."""
    folder = Path(__file__).parents[1] / "recipes"
    stems = (p.stem for p in folder.glob("*.py") if not p.stem.startswith(("__", SCREENS)))
    return tuple(sorted(_title(stem) for stem in stems))


def recipe(name: str) -> Recipe:
    """The recipe of that name. Raises ValueError if there is none."""
    if name not in recipes():
        raise ValueError(f"unknown recipe {name!r}: accepted are {', '.join(recipes())}")
    module = importlib.import_module(f"training.recipes.{name.replace('-', '_')}")
    shipped: Recipe = module.RECIPE
    return shipped


def params_of(operation: Operation[Any], changes: Mapping[str, Any]) -> Any:
    """An operation's default params, changed where named. Raises ValueError for what it lacks."""
    defaults = operation.default_params
    known = {f.name for f in fields(defaults)}
    if unknown := set(changes) - known:
        raise ValueError(f"params {sorted(unknown)}: accepted are {', '.join(sorted(known))}")
    kind: TypeAdapter[Any] = TypeAdapter(type(defaults))
    return kind.validate_python({**asdict(defaults), **changes})


def _title(stem: str) -> str:
    """File names cannot hold the dash of fashion-mnist: jem_fashion_mnist -> jem_fashion-mnist."""
    family = max((f for f in families() if stem.startswith(f"{f}_")), key=len)
    dataset = stem.removeprefix(f"{family}_")
    return f"{family}_{dataset.replace('_', '-')}"


def _value(owner: Any, key: str, text: str) -> Any:
    """What the text says, as the type that `owner` annotates. Raises ValueError if it is not."""
    kind: TypeAdapter[Any] = TypeAdapter(get_type_hints(owner)[key])
    try:
        value = ast.literal_eval(text)
    except (ValueError, SyntaxError):
        value = text
    try:
        return kind.validate_python(value)
    except ValidationError:
        pass
    try:
        return kind.validate_python(text)  # such as a folder whose name is a number
    except ValidationError as error:
        raise ValueError(f"{key}={text}: {error.errors()[0]['msg']}") from error
