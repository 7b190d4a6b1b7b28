"""Numbers the frames of a video in which some can't be decoded, and counts those that are lost.

A decoder reports a broken packet, and then may drop further frames silently until the next keyframe. Only the time of a
frame says how many are missing before it.
"""

from __future__ import annotations

import math

MAX_RANGES_SHOWN = 5  # ranges of lost frames that are listed


class FrameNumbers:
    """The number of each frame that is decoded, from 0.

    Frames are counted until the first failure, because the times of a healthy video may be irregular. After it, a
    frame's number follows from its time.

    Attributes:
        rate: frames per second that the video states.
        last: number of the last frame; -1 before the first.
        failures: failed attempts since then.
        damaged: whether a frame followed a failure.
        lost: first and last number of each range of frames that is missing before a frame.
    """

    def __init__(self, rate: float) -> None:
        self.rate = rate
        self.last, self.failures, self.damaged = -1, 0, False
        self.lost: list[tuple[int, int]] = []
        self._first_time: float | None = None
        self._first, self._last_time = 0, 0.0

    def fail(self) -> None:
        """Note that no frame could be decoded."""
        self.failures += 1

    def next(self, seconds: float) -> int | None:
        """The number of a frame that was decoded; None if a frame with a later time came before it.

        Args:
            seconds: when the frame is shown; 0 also where the video does not say.
        """
        self.damaged = self.damaged or self.failures > 0
        number = self._number_at(seconds) if self.damaged else self.last + 1
        self.failures = 0
        if number <= self.last:
            return None
        self._skip_to(number)
        if self._first_time is None:
            self._first, self._first_time = number, seconds
        self.last, self._last_time = number, seconds
        return number

    def end(self, total: int) -> None:
        """Count the frames after the last one, up to ``total``, as lost."""
        self._skip_to(max(total, self.last + 1))
        self.last = max(total - 1, self.last)

    def _number_at(self, seconds: float) -> int:
        if self._first_time is None:
            return round(seconds * self.rate) if seconds > 0 else self.failures
        if seconds <= 0 and self._last_time <= 0:  # no times are known
            return self.last + 1 + self.failures
        counted = self.last - self._first
        elapsed = self._last_time - self._first_time
        interval = elapsed / counted if counted and elapsed > 0 else 1 / self.rate
        return self.last + round((seconds - self._last_time) / interval)

    def _skip_to(self, number: int) -> None:
        if number > self.last + 1:
            self.lost.append((self.last + 1, number - 1))

    @property
    def count_lost(self) -> int:
        """The number of frames that are missing."""
        return sum(last - first + 1 for first, last in self.lost)

    def describe(self, total: float = math.inf) -> str:
        """What is missing, for a message.

        Args:
            total: number of frames of the video; infinite: unknown.

        Example:
            >>> numbers = FrameNumbers(25)
            >>> [numbers.next(0.0), numbers.fail(), numbers.next(0.2)]
            [0, None, 5]
            >>> numbers.describe(40)
            "4 of 40 frames can't be read: 1 to 4"
        """
        ranges = [f"{first} to {last}" if last > first else f"{first}" for first, last in self.lost[:MAX_RANGES_SHOWN]]
        more = ", ..." if len(self.lost) > MAX_RANGES_SHOWN else ""
        of = f" of {total:.0f}" if math.isfinite(total) else ""
        nouns = "frame" if (self.count_lost if not of else total) == 1 else "frames"
        return f"{self.count_lost}{of} {nouns} can't be read: {', '.join(ranges)}{more}"
