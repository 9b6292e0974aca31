"""Names and paths are shown as they are, whatever is in their brackets."""

from pathlib import Path

from typer.testing import CliRunner

from training.__main__ import commands


def test_a_path_is_no_markup(tmp_path: Path) -> None:
    folder = tmp_path / "[bold]none[" / "red]"
    result = CliRunner().invoke(commands, ["calibrate", str(folder), str(folder)])
    assert result.exit_code == 1
    assert "[bold]none[/red]" in "".join(result.output.split())
