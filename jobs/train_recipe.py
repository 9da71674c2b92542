"""Train the stages of a recipe, each taught by stages before it, and export the checkpoint of the last.

    python jobs/train_recipe.py fer_models/released/recipe.toml --data fer2013.zip
    ray job submit --working-dir . -- python jobs/train_recipe.py recipe.toml --data s3://bucket/fer2013 ...

Stages that do not depend on each other run side by side where the cluster has room. After an interruption, the same
command goes on; what is finished is not run again. It prints a table of all stages on the validation split and the path
of the exported checkpoint. jobs/README.md describes the file.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Annotated

import tyro

from fer_data.commands import exit_with_code
from fer_models.checkpoint_files import read_card
from jobs import export
from jobs.command_line import parse
from jobs.console import PlainConsole
from jobs.training.options import TrainRunOptions


@dataclass(frozen=True)
class RecipeOptions:
    """What to train, and where."""

    recipe: Annotated[str, tyro.conf.Positional]
    """A TOML file of [[stage]] tables: a path, s3:// or gs:// URI."""
    data: str | None = None
    """A prepared data set, or FER-2013 in any published form (path, s3:// or gs://); by default the drawn faces."""
    resize: bool = False
    """Admit raw images of any size, colour and usual kind, as jobs/prepare_data.py does."""
    run: TrainRunOptions = field(default_factory=TrainRunOptions)
    """--storage, --name: the folder that has a folder for each stage; by default the name of the file."""


def main(argv: Sequence[str] | None = None) -> None:
    """Train, print the table, and export."""
    options = parse(RecipeOptions, argv, description=__doc__)
    from jobs.training.recipe_driver import train_recipe  # Ray takes seconds to import.

    console = PlainConsole()
    result = train_recipe(options.recipe, options.data, options.run, console, resize=options.resize)
    if not read_card(result.checkpoint).exports:
        export.main([result.checkpoint, "--data", result.data])
    console.out(f"checkpoint {result.checkpoint}", f"table      {result.table}", sep="\n")


if __name__ == "__main__":
    exit_with_code(main)
