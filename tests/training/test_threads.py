"""Work shared out to threads: received whole and in order, whichever piece is done first."""

import threading

import pytest

from numnist.training.threads import Threads


def test_results_are_received_in_order_though_the_first_piece_is_done_last() -> None:
    others_done = threading.Event()
    received: list[int] = []

    def work(piece: int) -> int:
        if piece == 0:
            assert others_done.wait(60)
        if piece == 4:
            others_done.set()
        return piece * piece

    with Threads(2) as pool:
        pool.share_out(range(5), work, received.append)
    assert received == [0, 1, 4, 9, 16]


def test_a_result_is_received_as_soon_as_those_before_it_are_there() -> None:
    received: list[int] = []
    seen_by_last: list[list[int]] = []

    def work(piece: int) -> int:
        if piece == 2:
            seen_by_last.append(list(received))
        return piece

    with Threads(1) as pool:
        pool.share_out(range(3), work, received.append)
    assert seen_by_last == [[0, 1]] and received == [0, 1, 2]


def test_as_many_pieces_are_worked_on_at_once_as_there_are_threads() -> None:
    together = threading.Barrier(3)  # breaks, and fails the work, unless three threads meet at it
    received: list[int] = []
    with Threads(3) as pool:
        pool.share_out(range(6), lambda piece: together.wait(60) * 0 + piece, received.append)
    assert received == list(range(6))


@pytest.mark.parametrize("threads", [1, 2])
def test_what_a_piece_raises_is_raised_and_the_threads_are_of_use_again(threads: int) -> None:
    received: list[float] = []
    with Threads(threads) as pool:
        with pytest.raises(ZeroDivisionError):
            pool.share_out([1, 0, 2], lambda piece: 1 / piece, received.append)
        pool.share_out([1, 2], lambda piece: 1 / piece, received.append)
    assert received[-2:] == [1.0, 0.5]


def test_no_thread_is_left_when_the_block_ends() -> None:
    before = threading.active_count()
    with Threads(2) as pool:
        pool.share_out(range(4), str, lambda _: None)
    assert threading.active_count() == before


def test_no_work_is_no_error() -> None:
    with Threads(2) as pool:
        pool.share_out([], str, lambda _: None)
