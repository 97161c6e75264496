"""Every wait of the suite goes through here, and every one ends."""

import time


def wait_until(condition, what, timeout_s=10, step_s=0.02):
    """Returns the condition's first true value; fails, naming what was waited for (`what` may be a
    function, called when it is needed)."""
    deadline = time.monotonic() + timeout_s
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {timeout_s} s for {what() if callable(what) else what}")
        time.sleep(step_s)
