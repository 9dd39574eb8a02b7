"""One point at a time, answered in any order: the same search as round by round."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from zoptim import Search
from zoptim.doors.desk import Desk


def bowl(x):
    return float(((x - 1.0) ** 2).sum())


def made(method="auto"):
    return Search(np.zeros(3), method, budget=90, failures="penalize")


@pytest.mark.parametrize("method", ["auto", "mezo"])
def test_it_is_the_search_in_whatever_order_answers_come(method):
    whole, desk = made(method), Desk(made(method))
    while not whole.done:
        whole.tell([bowl(x) for x in whole.ask()])
    while not desk.search.done:
        out = []
        while (taken := desk.take()) is not None:
            out.append(taken)
        for ticket, x in reversed(out):
            desk.give(ticket, bowl(x))
    np.testing.assert_array_equal(desk.search.trace.values, whole.trace.values)
    assert desk.take() is None


def test_tickets_are_given_back_once():
    desk = Desk(made())
    ticket, x = desk.take()
    desk.give(ticket, bowl(x))
    for wrong in (ticket, ticket + 7, -1):
        with pytest.raises(KeyError, match="no point of that number is out"):
            desk.give(wrong, 0.0)


def test_others_points_count_and_may_be_the_best():
    desk = Desk(made())
    desk.add([1.0, 1.0, 1.0], 0.0)
    desk.add([2.0, 1.0, 1.0], None)
    assert desk.search.spent == 2 and desk.search.result().fun == 0.0


def test_threads_share_a_desk():
    desk = Desk(made())

    def work(_):
        while (taken := desk.take()) is not None or not desk.search.done:
            if taken is not None:
                desk.give(taken[0], bowl(taken[1]))

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(work, range(4)))
    whole = made()
    while not whole.done:
        whole.tell([bowl(x) for x in whole.ask()])
    np.testing.assert_array_equal(desk.search.trace.values, whole.trace.values)
