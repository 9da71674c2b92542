import subprocess
import sys

from tests.conftest import REPOSITORY

BLOCK = """
import os
from jobs.tensorflow_environment import quiet, tensorflow_environment
os.environ |= tensorflow_environment()
with quiet():
    {}
os.write(2, b"I0000 after\\n")
"""


def stderr(body: str) -> str:
    code = BLOCK.format(body)
    return subprocess.run(
        [sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, timeout=120, check=False
    ).stderr


def assert_runs(code: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr


def test_tensorflow_starts_without_a_word():
    assert stderr("import tensorflow") == "I0000 after\n"


def test_a_hidden_gpu_is_nothing_to_complain_of():
    hidden = 'os.environ["CUDA_VISIBLE_DEVICES"] = "-1"; import tensorflow as tf; tf.constant(1)'
    assert stderr(hidden) == "I0000 after\n"


def test_warnings_and_the_last_words_of_a_crash_come_through():
    lines = r'b"I0000 a note\nW0000 a warning\nF0000 no AVX\n"'
    assert stderr(f"os.write(2, {lines})") == "W0000 a warning\nF0000 no AVX\nI0000 after\n"
    assert stderr(f"os.write(2, {lines}); os.abort()") == "W0000 a warning\nF0000 no AVX\n"


def test_drivers_import_neither_tensorflow_nor_keras_and_command_lines_no_ray():
    code = (
        "import sys; import jobs.evaluate, jobs.sweep, jobs.train_cnn, jobs.train_resnet, jobs.evaluation.options;"
        "assert 'ray' not in sys.modules;"
        "import jobs.evaluation.driver, jobs.evaluation.scoring.pipeline, jobs.training.driver, jobs.tuning.driver;"
        "assert not {'tensorflow', 'keras'} & set(sys.modules)"
    )
    assert_runs(code)


def test_keras_is_imported_without_what_no_job_needs_and_which_can_be_imported_later():
    code = (
        "import gc, sys; from jobs.tensorflow_environment import load_keras; load_keras();"
        "assert 'keras' in sys.modules and not {'matplotlib', 'sklearn'} & set(sys.modules);"
        "assert gc.isenabled();"
        "import matplotlib.figure, sklearn.metrics; load_keras(); assert sys.modules['sklearn'] is sklearn"
    )
    assert_runs(code)
