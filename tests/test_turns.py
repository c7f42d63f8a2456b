"""Functions that hold the interpreter's lock: their calls are made one at a time, once that is known to be faster."""

import threading
import time

import numpy as np
import pytest

import pantile as pt
from pantile.stream.job import Indexed
from pantile.stream.tile_task import Cancelled
from pantile.stream.turns import InTurns, Turns, Window


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


def never():
    """The run goes on."""


def held_up():
    raise AssertionError("there is nobody to wait for")


def call_together(turns, clock, seconds, computing, threads=2, n=10):
    """Calls that begin and end together."""
    entered = [turns.enter() for _ in range(threads)]
    clock.now += seconds
    for each in entered:
        turns.leave(each, n, computing)


def call_alone(turns, clock, seconds, n=10):
    entered = turns.enter()
    clock.now += seconds
    turns.leave(entered, n, seconds)


def waiting_for_each_other(turns, clock):
    """Calls that look as if they waited for a lock: two threads had half a processor each."""
    call_together(turns, clock, 9.0, 0.1)  # the first are not looked at
    call_together(turns, clock, 1.0, 0.5)


def test_calls_that_wait_for_each_other_are_made_one_at_a_time_if_that_is_faster():
    clock = Clock()
    turns = Turns(held_up, clock)
    waiting_for_each_other(turns, clock)
    assert turns.one_at_a_time
    for _ in range(2):
        call_alone(turns, clock, 0.3)  # 33 patches a second instead of 20
    for _ in range(9):
        assert turns.one_at_a_time
        call_alone(turns, clock, 3.0)  # decided once and for all


def test_and_all_at_once_again_if_it_is_not():
    clock = Clock()
    turns = Turns(held_up, clock)
    waiting_for_each_other(turns, clock)
    for _ in range(2):
        assert turns.one_at_a_time
        call_alone(turns, clock, 0.48)  # 20.8 patches a second: no reason
    assert not turns.one_at_a_time
    waiting_for_each_other(turns, clock)
    assert not turns.one_at_a_time  # not tried again


@pytest.mark.parametrize(
    ("computing", "threads"),
    [(1.0, 2), (0.8, 2), (0.01, 2), (0.05, 8), (0.25, 8), (1.0, 1)],
    ids=["a core each", "a core each, shared", "a server", "a disk", "two cores", "alone"],
)
def test_others_are_never_held_up(computing, threads):
    clock = Clock()
    turns = Turns(held_up, clock)
    for _ in range(20):
        call_together(turns, clock, 1.0, computing, threads)
        assert not turns.one_at_a_time


def test_what_the_first_calls_did_is_not_taken_for_the_rule():
    clock = Clock()
    turns = Turns(held_up, clock)
    call_together(turns, clock, 9.0, 4.5)  # a compiler with a lock of its own
    for _ in range(5):
        call_together(turns, clock, 1.0, 1.0)
    assert not turns.one_at_a_time


def test_short_calls_are_watched_for_a_while():
    clock = Clock()
    turns = Turns(held_up, clock)
    call_together(turns, clock, 0.001, 0.0005)
    calls = 0
    while not turns.one_at_a_time:
        call_together(turns, clock, 0.001, 0.0005)
        calls += 1
    assert 98 <= calls <= 102


def test_one_enters_when_the_other_leaves():
    turns = Turns(never)
    turns.one_at_a_time, turns._window = True, None
    inside, most = 0, 0

    def func(batch):
        nonlocal inside, most
        inside += 1
        most = max(most, inside)
        time.sleep(0.002)
        inside -= 1
        return batch

    work = InTurns(func, turns)
    threads = [
        threading.Thread(target=lambda: [work(np.zeros(3)) for _ in range(5)]) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == 1


def test_who_waits_hears_that_the_run_has_ended():
    ended = threading.Event()

    def check():
        if ended.is_set():
            raise Cancelled

    turns = Turns(check)
    turns.one_at_a_time, turns._window = True, None
    turns.enter()  # and never leaves
    heard = []

    def wait():
        try:
            turns.enter()
        except Cancelled:
            heard.append(True)

    thread = threading.Thread(target=wait)
    thread.start()
    ended.set()
    thread.join(5)
    assert heard == [True]


def test_an_error_leaves_the_turn_to_the_next():
    turns = Turns(never)
    turns.one_at_a_time, turns._window = True, None
    work = InTurns(lambda _: 1 / 0, turns)
    for _ in range(2):
        with pytest.raises(ZeroDivisionError):
            work(np.zeros(3))


def test_a_window_counts_threads_and_patches():
    window = Window(0.0)
    window.add(10, 1.0, 0.5, 2)
    window.add(10, 3.0, 1.5, 2)
    assert window.threads == 2
    assert window.rate == pytest.approx(20 / 4 * 2)
    assert window.waits_for_a_lock


@pytest.mark.parametrize("batch", [None, 7])
@pytest.mark.parametrize("indexed", [False, True])
def test_results_do_not_depend_on_turns(monkeypatch, batch, indexed):
    """Made to change between one and all at every call."""
    image = np.random.default_rng(0).random((60, 70))

    def decide(self, _, now):
        self.one_at_a_time = not self.one_at_a_time
        self._changed.notify_all()
        return Window(now)

    monkeypatch.setattr(Turns, "_decide", decide)
    monkeypatch.setattr(Window, "is_enough", True)
    func = Indexed(lambda b, i: b * (i % 3)[:, None, None]) if indexed else np.sqrt
    got = pt.map_patches(func, image, 9, 2, workers=3, batch=batch)
    want = pt.map_patches(func, image, 9, 2, workers=1, batch=batch)
    assert np.array_equal(got, want)


def test_an_error_in_func_is_raised_while_others_wait(monkeypatch):
    monkeypatch.setattr(Window, "is_enough", True)
    monkeypatch.setattr(Window, "waits_for_a_lock", True)
    monkeypatch.setattr(
        Turns, "_rate_of_all", property(lambda _: 0.0, lambda *_: None), raising=False
    )
    called = []

    def func(batch):
        called.append(1)
        if len(called) == 6:
            raise ArithmeticError("the sixth")
        time.sleep(0.01)
        return batch

    with pytest.raises(ArithmeticError, match="the sixth"):
        pt.map_patches(func, np.zeros((200, 300)), 9, batch=64, workers=4)
    assert len(called) <= 7  # one may enter as the error leaves
    seen = len(called)
    time.sleep(0.2)
    assert len(called) == seen
