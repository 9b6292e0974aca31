"""The command line: python -m training RECIPE trains, and there are commands for screens."""

from typing import Any

import typer
from typer.core import TyperGroup

from training.cli.calibrate import calibrate
from training.cli.evaluate_ood import evaluate_ood
from training.cli.evaluate_seeds import evaluate_seeds
from training.cli.screen import screen
from training.cli.train import train


class _Commands(TyperGroup):
    """Commands, of which `train` need not be named: whatever else comes first is its recipe."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """With the command that is meant."""
        if args and args[0] not in (*self.commands, "--help"):
            args = ["train", *args]
        return super().parse_args(ctx, args)


commands = typer.Typer(cls=_Commands, add_completion=False, no_args_is_help=True)
commands.command(no_args_is_help=True)(train)
for _command in (evaluate_ood, evaluate_seeds, calibrate, screen):
    commands.command()(_command)

if __name__ == "__main__":
    commands(prog_name="python -m training")
