"""Points of a round shared out over forked processes: the same answers in the same order, on more cores.

A child inherits the weights, the batch and the question as they stand (copy on write), answers the jobs it takes
from a common list and ends; nothing is sent to it and nothing of it remains.  A job is taken when a child is free,
so slow ones need no weighing.  Not here: other machines, or children that outlive a step.

Coordinates spread over processes: DeepZero, arXiv 2310.02025.
"""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection
from typing import Any, TypeVar

Job = TypeVar("Job")
Answer = TypeVar("Answer")
STOPPED = -1  # in place of a job: a child was


def spread(work: Callable[[Job], Answer], jobs: Sequence[Job], processes: int) -> list[Answer]:
    """[work(job) for job in jobs], by `processes` forked children where there is more than one job.

    Raises:
        RuntimeError: a child ended without an answer.
        Exception: what `work` raised, of the first job it raised at.
        KeyboardInterrupt: a child, or this process, was.

    Cost: a fork a child, some milliseconds; memory that a child writes.

    Example:
        >>> spread(lambda x: x * x, [1, 2, 3], 2)
        [1, 4, 9]
    """
    if processes == 1 or len(jobs) < 2:
        return [work(job) for job in jobs]
    context = multiprocessing.get_context("fork")
    tickets, tray = os.pipe()  # a number is read whole: whoever reads it has the job
    children, found = [], dict[int, Any]()
    try:
        for _ in range(min(processes, len(jobs))):
            ours, theirs = context.Pipe(duplex=False)
            child = context.Process(target=_serve, args=(work, jobs, tickets, tray, theirs), daemon=True)
            child.start()
            theirs.close()
            children.append((child, ours))
        for number in range(len(jobs)):
            os.write(tray, number.to_bytes(4, "little"))
        os.close(tray)
        tray = -1
        for _, ours in children:
            found.update(_hear(ours))
    finally:
        for end in (tickets, tray):
            if end >= 0:
                os.close(end)
        for child, ours in children:
            ours.close()
            if child.is_alive() and len(found) < len(jobs):
                child.terminate()
            child.join()
    for number in (STOPPED, *range(len(jobs))):
        if isinstance(found.get(number), Exception | KeyboardInterrupt):
            raise found[number]
    return [found[number] for number in range(len(jobs))]


def _hear(ours: Connection) -> dict[int, Any]:
    try:
        heard: dict[int, Any] = ours.recv()
    except EOFError:
        raise RuntimeError(
            "a process ended without an answer; run with one process to see why, or free memory"
        ) from None
    return heard


def _serve(
    work: Callable[[Any], Any], jobs: Sequence[Any], tickets: int, tray: int, theirs: Connection
) -> None:
    """A child: take numbers until the list ends, then say all answers at once."""
    found: dict[int, Any] = {}
    try:
        os.close(tray)
        while ticket := os.read(tickets, 4):
            number = int.from_bytes(ticket, "little")
            try:
                found[number] = work(jobs[number])
            except Exception as error:
                found[number] = error
    except KeyboardInterrupt as stop:  # the parent's to speak of
        found = {STOPPED: stop}
    theirs.send(found)
    theirs.close()
