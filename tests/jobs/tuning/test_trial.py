"""A trial's folder when it begins, and when it goes on from another trial."""

from dataclasses import asdict

import numpy as np

from cluster.connect import WorkerResources
from fer_data.dataset import open_dataset
from fer_models.card import Card
from fer_models.checkpoint_files import STATE_FILE, packed, publish_checkpoint
from jobs.training.defaults import DEFAULTS
from jobs.tuning.options import SweepRunOptions
from jobs.tuning.sweep_folder import SweepFolder
from jobs.tuning.trial import TRIAL_KEY, TrialRun, TrialSetup


def test_a_trial_of_a_population_goes_on_from_the_checkpoints_of_another(drawn_few, tmp_path):
    sweep, dataset = SweepFolder(str(tmp_path)), open_dataset(drawn_few)
    setup = TrialSetup(sweep.uri, DEFAULTS["compact"], dataset, WorkerResources(1, 0), SweepRunOptions(), keep=9)

    def begun(name: str, rate: float, donor: dict | None = None) -> list[dict]:
        trial = object.__new__(TrialRun)  # Tune's constructor wants a process of its own.
        trial.setup({TRIAL_KEY: name, "learning_rate": rate}, setup)
        trial._donor = donor
        rows = trial._begin()
        return trial._history if donor else rows

    def save(name: str, epoch: int, value: float) -> None:
        rows = [{"epoch": i + 1, "validation_accuracy": value} for i in range(epoch)]
        config = asdict(sweep.run(name).configuration())
        card = Card("compact", epoch, 1, "float32", "challenge", dataset.manifest.fingerprint, config, rows)
        publish_checkpoint(sweep.run(name).checkpoint(epoch), {STATE_FILE: packed({"a": np.full(3, value)})}, card)

    assert begun("0000", 0.1) == begun("0001", 0.2) == []
    for epoch in (1, 2, 3):
        save("0001", epoch, 0.5)
    save("0000", 1, 0.25)
    assert [row["validation_accuracy"] for row in begun("0000", 0.1)] == [0.25]  # The same trial, resumed.
    history = begun("0000", 0.3, {"trial": "0001", "epoch": 2})
    assert [row["validation_accuracy"] for row in history] == [0.5, 0.5]
    assert sweep.run("0000").epochs() == [1, 2]
    assert sweep.run("0000").configuration().optimizer.learning_rate == 0.3
    first, second = sweep.trials()
    assert (first.parameters, second.parameters) == ({"learning_rate": 0.3}, {"learning_rate": 0.2})
