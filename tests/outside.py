"""What comes to a call from outside: signals, forks, and other threads."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
import warnings

PATIENCE = 60  # seconds: a guard against a child that waits for ever


class InterruptError(Exception):
    """What a signal handler raises."""


def raise_interrupt(*_):
    raise InterruptError


def interrupted(call, after):
    """Call, with an alarm after so many seconds; return whether that ended it."""
    try:
        signal.setitimer(signal.ITIMER_REAL, after)
        call()
    except InterruptError:
        return True
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
    return False


def in_child(work):
    """Call work in a child; return what it returned, or the text of what it raised."""
    reading, writing = os.pipe()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of Python 3.12: there are threads
        process = os.fork()
    if not process:
        signal.alarm(PATIENCE)
        try:
            text = str(work())
        except BaseException as error:
            text = f"{type(error).__name__}: {error}"
        os.write(writing, text.encode())
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as file:
        text = file.read()
    os.waitpid(process, 0)
    return text


def others_ran(step, most):
    """Return whether, within so many steps, another thread came to run that nothing else lets."""
    counts, stop = [0], threading.Event()

    def count():
        while not stop.is_set():
            counts[0] += 1
            time.sleep(0)  # gives the lock back

    thread, interval = threading.Thread(target=count), sys.getswitchinterval()
    sys.setswitchinterval(60.0)  # nobody is made to give it up
    try:
        thread.start()
        before = counts[0]
        for _ in range(most):
            step()
            if counts[0] != before:
                return True
        return False
    finally:
        stop.set()
        sys.setswitchinterval(interval)
        thread.join()
