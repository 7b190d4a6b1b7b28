"""`BackgroundCaller`: makes calls in a background thread, so that a slow or failing service never delays a training."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from queue import SimpleQueue

from facekp.core.errors import first_line

log = logging.getLogger(__name__)

Call = Callable[[], object]


class BackgroundCaller:
    """Makes calls in one background thread, in the order in which they were sent.

    After the first call that fails, one warning is logged and all later calls are skipped.

    Args:
        name: of the service, for messages.
        on_failure: called in the background thread after the first failed call.
    """

    def __init__(self, name: str, on_failure: Call) -> None:
        self.name, self.on_failure = name, on_failure
        self.failed = False
        self.calls: SimpleQueue[Call | None] = SimpleQueue()  # None: the end
        self.thread = threading.Thread(target=self._work, name=name, daemon=True)  # does not keep the process alive
        self.thread.start()

    def send(self, call: Call) -> None:
        """Queue a call and return at once."""
        self.calls.put(call)

    def wait(self, seconds: float) -> bool:
        """Accept no more calls and wait until the queued ones are done.

        Returns:
            whether they were done in time. If they were not, later failures are not logged.
        """
        self.calls.put(None)
        self.thread.join(seconds)
        self.failed |= self.thread.is_alive()
        return not self.thread.is_alive()

    def _work(self) -> None:
        while (call := self.calls.get()) is not None and not self.failed:
            try:
                call()
            except BaseException as error:  # W&B's client also raises SystemExit
                if not self.failed:
                    log.warning("%s: %s; the training continues without it", self.name, first_line(error))
                self.failed = True
                quietly(self.name, self.on_failure)


def quietly(name: str, call: Call) -> None:
    """Make a call whose failure does not matter."""
    try:
        call()
    except BaseException as error:
        log.debug("%s: %s", name, error)
