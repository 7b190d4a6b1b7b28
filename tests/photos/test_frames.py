"""Numbers of frames in damaged videos: by time after a failure, by counting before it."""

import pytest

from facekp.photos.frames import FrameNumbers


def numbered(rate, *steps):
    """The numbers of frames at times in frames; None is a failure."""
    numbers = FrameNumbers(rate)
    return numbers, [numbers.fail() if step is None else numbers.next(step / rate) for step in steps]


def test_frames_of_a_healthy_video_are_counted_whatever_their_times():
    numbers, got = numbered(25, 0, 3, 4, 11, 11.5, 30)
    assert got == [0, 1, 2, 3, 4, 5]
    assert (numbers.lost, numbers.damaged) == ([], False)


@pytest.mark.parametrize("rate", [10, 24, 29.97, 60])
def test_a_frame_behind_a_failure_is_numbered_by_its_time(rate):
    numbers, got = numbered(rate, 0, 1, 2, None, 4, 5, None, None, 12, 13)
    assert [number for number in got if number is not None] == [0, 1, 2, 4, 5, 12, 13]
    assert numbers.lost == [(3, 3), (6, 11)]
    assert numbers.describe(14) == "7 of 14 frames can't be read: 3, 6 to 11"


def test_a_failure_that_costs_no_frame_is_no_loss():
    numbers, got = numbered(25, 0, 1, None, 2, 3)
    assert (numbers.lost, got[3:]) == ([], [2, 3])


def test_a_frame_that_comes_too_late_is_left_out():
    numbers, got = numbered(25, 0, 1, None, 9, 4, 10)
    assert got == [0, 1, None, 9, None, 10]
    assert numbers.lost == [(2, 8)]


def test_the_first_frames_may_be_lost():
    numbers, got = numbered(25, None, 12, 13)
    assert got[1:] == [12, 13]
    assert numbers.lost == [(0, 11)]


def test_failures_are_counted_where_a_video_has_no_times():
    numbers = FrameNumbers(25)
    got = [numbers.next(0.0), numbers.next(0.0), numbers.fail(), numbers.fail(), numbers.next(0.0)]
    assert got == [0, 1, None, None, 4]


def test_missing_frames_at_the_end_are_lost():
    numbers, _ = numbered(25, 0, 1, None)
    numbers.end(6)
    assert numbers.describe(6) == "4 of 6 frames can't be read: 2 to 5"
    numbers.end(6)
    assert numbers.count_lost == 4
