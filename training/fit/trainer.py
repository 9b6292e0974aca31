"""The training loop: Lightning runs it, an objective says what is minimised.

A run keeps its state in a folder and goes on where it was cut off. Energies that run away stop it;
it then restarts from the last good checkpoint with a new seed (as the authors of JEM advise).
"""

import json
import logging
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, cast

import lightning
import torch
from lightning.pytorch.callbacks import Callback, EMAWeightAveraging, TQDMProgressBar
from lightning.pytorch.loggers import CSVLogger
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.utils.data import DataLoader

from models.core.contract.model import GenerativeModel
from training.data.batches import Steps
from training.data.splits import Split, as_events
from training.fit.objective import Objective
from training.fit.recipe import Recipe
from training.fit.validation import BestWeights, Validation

_INITIAL = 2048  # events from which actnorms and standardisations are set
_MINUTE = 60.0
_LOG = logging.getLogger(__name__)


class Diverged(Exception):
    """Energies or the loss ran away."""


@dataclass
class RunState:
    """What a run remembers of itself between interruptions."""

    num_restarts: int = 0
    restarted_from_steps: tuple[int, ...] = ()


def fit(
    recipe: Recipe,
    model: GenerativeModel,
    train: Split,
    folder: Path,
    validation: Split | None = None,
) -> RunState:
    """Train `model` in place, with EMA weights at the end; resumes from what lies in `folder`.

    With a validation split and an objective that validates, the end is the best look's weights.
    Raises Diverged after `recipe.max_restarts` restarts.
    """
    folder.mkdir(parents=True, exist_ok=True)
    trained, state = folder / "trained.safetensors", _read(folder)
    if trained.exists():
        model.load_state_dict(load_file(trained))
        return state
    torch.set_num_threads(recipe.num_threads)
    torch.manual_seed(recipe.seed)
    model.train()
    if recipe.objective.sees_data:
        model.initialise(as_events(train.x[:_INITIAL]))
    untrained = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    while True:
        model.load_state_dict(untrained)  # a run may diverge before its first checkpoint
        seed = recipe.seed + 1000 * state.num_restarts
        objective = recipe.objective(model, train, seed, **recipe.objective_settings)
        held_out = validation if objective.validates else None
        module = TrainingModule(model, objective, recipe, held_out)
        try:
            _run(recipe, module, folder, seed)
            break
        except Diverged as error:
            state.num_restarts += 1
            state.restarted_from_steps += (module.global_step,)
            _write(folder, state)
            _LOG.warning("restart %d with a new seed: %s", state.num_restarts, error)
            if state.num_restarts > recipe.max_restarts:
                raise
    objective.finish()
    BestWeights(folder).restore(model)
    save_file({k: v.contiguous() for k, v in model.state_dict().items()}, trained)
    return state


class TrainingModule(lightning.LightningModule):
    """An objective as Lightning wants it."""

    def __init__(
        self,
        model: GenerativeModel,
        objective: Objective,
        recipe: Recipe,
        validation: Split | None = None,
    ) -> None:
        super().__init__()
        self.model = model
        self.objective = objective
        self.recipe = recipe
        self.validation = Validation(validation, recipe.max_validated) if validation else None

    def training_step(self, batch: Tensor, batch_idx: int) -> Tensor:
        losses = self.objective.losses(self.global_step)
        self.log_dict(losses, prog_bar=True)
        if self.objective.diverged(losses):
            shown = {k: round(float(v.detach()), 3) for k, v in losses.items()}
            raise Diverged(f"step {self.global_step}: {shown}")
        return losses["loss"]

    def validation_step(self, batch: Tensor, batch_idx: int) -> Tensor:
        assert self.validation is not None
        return self.validation.loss_at(self.model, batch_idx)

    def configure_optimizers(self) -> Any:
        parameters = [p for p in self.model.parameters() if p.requires_grad]
        optimizer = torch.optim.AdamW(
            parameters,
            lr=1.0,
            betas=self.recipe.adam_betas,
            weight_decay=self.recipe.weight_decay,
        )
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, self.objective.learning_rate)
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": schedule, "interval": "step"},
        }

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint["objective"] = self.objective.state()

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        self.objective.load_state(checkpoint["objective"])


class _GoodCheckpoint(Callback):
    """Save every so often; a run that diverges stops before it can save, so what is there is good.

    Two are kept, and a restart takes the older: energies may creep up before they run away.
    """

    def __init__(self, folder: Path, every: int) -> None:
        self.last, self.previous = folder / "last.ckpt", folder / "previous.ckpt"
        self.every = every

    def on_train_batch_end(self, trainer: Any, pl_module: Any, *args: Any) -> None:
        # None at the end: a run that goes on from there would not put its average in place.
        if trainer.global_step % self.every == 0 and 0 < trainer.global_step < trainer.max_steps:
            beside = self.last.with_suffix(".tmp")
            trainer.save_checkpoint(beside)
            if self.last.exists():
                self.last.replace(self.previous)
            beside.replace(self.last)


class _Pace(Callback):
    """Says how long the rest will take when a minute of a phase is over; phases differ in pace."""

    def __init__(self, objective: Objective, clock: Callable[[], float] = time.monotonic) -> None:
        self.ends = objective.phase_ends or (objective.num_steps,)
        self.clock = clock
        self._phase, self._begun, self._first, self._told = -1, 0.0, 0, False

    def on_train_batch_end(self, trainer: Any, pl_module: Any, *args: Any) -> None:
        step, now = trainer.global_step, self.clock()
        phase = sum(end <= step for end in self.ends)
        if phase != self._phase:
            self._phase, self._begun, self._first, self._told = phase, now, step, False
        elif now - self._begun >= _MINUTE and not self._told and phase < len(self.ends):
            self._told = True
            per_step = (now - self._begun) / (step - self._first)
            _LOG.info("%s", self._estimate(step, per_step))

    def _estimate(self, step: int, per_step: float) -> str:
        end, last = self.ends[self._phase], self.ends[-1]
        text = (
            f"{(end - step) * per_step / _MINUTE:,.0f} more minutes to step {end:,}, at this pace"
        )
        if end < last:
            text += f"; {last - end:,} slower steps follow, whose pace is said when it is known"
        return text


def _run(recipe: Recipe, module: TrainingModule, folder: Path, seed: int) -> None:
    checkpoints = _GoodCheckpoint(folder, recipe.checkpoint_every)
    start = next(_existing(checkpoints.last, checkpoints.previous), None)
    lightning.seed_everything(seed, verbose=False)
    trainer = lightning.Trainer(
        accelerator="auto",
        devices=1,
        precision=cast(Any, recipe.precision),
        max_steps=module.objective.num_steps,
        gradient_clip_val=recipe.gradient_clip,
        callbacks=[
            BestWeights(folder),
            EMAWeightAveraging(decay=recipe.ema_decay, use_buffers=False),
            checkpoints,
            _Pace(module.objective),
            TQDMProgressBar(refresh_rate=20),
        ],
        logger=CSVLogger(folder, name="log", version=""),
        log_every_n_steps=20,
        enable_checkpointing=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        val_check_interval=min(recipe.validate_every, module.objective.num_steps),
        check_val_every_n_epoch=None,
    )
    loader = DataLoader(Steps(module.objective.num_steps), batch_size=None)
    looks = module.validation and DataLoader(Steps(module.validation.num_batches), batch_size=None)
    with warnings.catch_warnings():
        # The loader only counts steps: worker processes would cost more than they save.
        warnings.filterwarnings("ignore", ".*does not have many workers.*")
        warnings.filterwarnings("ignore", ".*Experiment logs directory.*")
        # Contrastive runs have no loss that could be validated.
        warnings.filterwarnings("ignore", ".*but have no `val_dataloader`.*")
        try:
            trainer.fit(module, loader, looks, ckpt_path=start, weights_only=True)
        except Diverged:
            if checkpoints.previous.exists():
                checkpoints.previous.replace(checkpoints.last)
            raise


def _existing(*paths: Path) -> Iterator[Path]:
    return (path for path in paths if path.exists())


def _read(folder: Path) -> RunState:
    path = folder / "state.json"
    if not path.exists():
        return RunState()
    text = json.loads(path.read_text())
    return RunState(text["num_restarts"], tuple(text["restarted_from_steps"]))


def _write(folder: Path, state: RunState) -> None:
    (folder / "state.json").write_text(json.dumps(asdict(state)))
