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
from training.data.splits import Dataset
from training.fit.objective import MeanLoss, Objective

SCREENS = "screen_"
"""How recipes begin that put trained models together; see `training.pipeline.screen_recipe`."""


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """One bundle's settings; `--set key=value` changes any of them.

    Keys of `config` and of `objective_settings` are reached by their own names.
    """

    family: str
    config: Any
    """The family's `Config`; event_shape and num_classes are filled in from the data."""
    dataset: str
    height: int = 0
    """Of images, in pixels; sets of vectors have no size."""
    width: int = 0
    num_channels: int = 1
    """Colours of the images; the network's widths are the config's `channels`."""
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
    num_threads: int = 1
    max_energy: float = 50.0
    """Mean energies beyond this, in nats, count as divergence."""
    max_restarts: int = 5
    checkpoint_every: int = 500
    validate_every: int = 500
    """Steps between looks at the validation split; the best weights of all looks are kept."""
    max_validated: int = 2000
    """Events of the validation split that are looked at."""
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
    graphs: tuple[str, ...] | None = None
    """Graphs to export beside the weights; None: all that the model has."""
    ood_scores: tuple[str, ...] = ()
    """Scores to calibrate; the first is the default."""
    ood_sets: Mapping[str, bool] = field(default_factory=dict)
    """Other data sets for the report, and whether each must be inverted to match."""

    def changed(self, changes: Mapping[str, str]) -> "Recipe":
        """With values read from text. Raises ValueError for an unknown key or a bad value."""
        recipe = self
        own = {f.name for f in fields(self)}
        own -= {"family", "config", "objective", "objective_settings"}
        of_config = {f.name for f in fields(self.config)}
        of_objective = set(self.objective.__init__.__kwdefaults__ or {})
        for key, text in changes.items():
            if key in own:
                recipe = replace(recipe, **{key: _value(Recipe, key, text)})
            elif key in of_config:
                value = _value(type(self.config), key, text)
                recipe = replace(recipe, config=replace(recipe.config, **{key: value}))
            elif key in of_objective:
                value = _value(self.objective.__init__, key, text)
                settings = {**recipe.objective_settings, key: value}
                recipe = replace(recipe, objective_settings=settings)
            else:
                accepted = ", ".join(sorted(own | of_config | of_objective))
                raise ValueError(f"unknown setting {key!r}: accepted are {accepted}")
        return recipe

    def config_for(self, data: Dataset) -> Any:
        """The family's config with the shapes that the data dictate.

        num_classes = 0 stays: such a model is about the events alone.
        """
        known = {f.name: getattr(self.config, f.name) for f in fields(self.config)}
        found: dict[str, Any] = {"event_shape": data.splits["train"].x.shape[1:]}
        if known.get("num_classes"):
            found["num_classes"] = len(data.class_names)
        return replace(self.config, **{k: v for k, v in found.items() if k in known})

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
    found: Recipe = module.RECIPE
    return found


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
