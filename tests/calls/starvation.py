"""Whether the machine had time for the call: audio is only judged when it had.

While the watch runs, a thread sleeps 10 ms at a time and notes by how much it woke late. The real
peers are threads like that too, so what happens to it happens to them.
"""

import threading
import time

NAP_S = 0.010
# A packet's worth: later than this and a sender's packet misses its slot.
LATE_S = 0.020


class Watch:
    def __enter__(self):
        self.late_wakes = 0
        self.latest_s = 0.0
        self.stop = threading.Event()
        self.thread = threading.Thread(target=self._nap, daemon=True)
        self.thread.start()
        return self

    def __exit__(self, *raised):
        self.stop.set()
        self.thread.join()

    def _nap(self):
        while not self.stop.is_set():
            before = time.monotonic()
            time.sleep(NAP_S)
            late = time.monotonic() - before - NAP_S
            self.latest_s = max(self.latest_s, late)
            self.late_wakes += late > LATE_S

    @property
    def starved(self):
        return self.late_wakes > 2 or self.latest_s > 0.060

    def __str__(self):
        return f"{self.late_wakes} wakes late by more than {LATE_S * 1000:.0f} ms, the worst {self.latest_s * 1000:.0f} ms"
