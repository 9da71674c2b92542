import signal

import pytest

from fer_data.commands import stop_checked


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_ctrl_c_is_not_lost_in_a_destructor():
    class Press:
        def __del__(self):
            signal.raise_signal(signal.SIGINT)

    before = signal.getsignal(signal.SIGINT)
    with stop_checked() as look:
        look()
        press = Press()
        del press  # Python drops what is raised now.
        with pytest.raises(KeyboardInterrupt):
            look()
    assert signal.getsignal(signal.SIGINT) is before


def test_ctrl_c_is_raised_at_once_elsewhere():
    with stop_checked(), pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)
