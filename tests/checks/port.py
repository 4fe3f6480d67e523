"""A port that speaks the line protocol: python port.py MODE."""

import json
import os
import sys
import time

import numpy as np
from wrong_targets import WEIGHTS, Numpy, OrderOfOnnx, Session

from lstm_fast.checks import adapters  # noqa: F401 - imports as a port in Python would


def plain(values):
    return [plain(v) for v in values] if np.ndim(values) else value(values)


def value(number):
    return float(number) if np.isfinite(number) else str(float(number))


def main(mode):
    target = Numpy(OrderOfOnnx if mode == "iofg" else Session, WEIGHTS)
    places = 1 if mode in ("one", "iofg") else 8
    sessions = [target.session() for _ in range(places)]
    for count, line in enumerate(sys.stdin):
        message = json.loads(line)
        session = sessions[message.get("session", 0)]
        op = message["op"]
        answer = {}
        if op == "info":
            answer = {"input_size": 5, "output_size": 8, "sessions": places, "run": True}
            if mode == "no_info":
                answer = {}
        elif op == "reset":
            left = session.c
            session.reset()
            if mode == "leaks_c":
                session.c = left
            if mode == "forgets_c":
                session.c[:] = 1
        elif op == "step":
            y = session.step(np.float32([float(v) for v in message["x"]]))
            answer = {"y": plain(y), "h": plain(session.h), "c": plain(session.c)}
        elif op == "run":
            xs = [np.float32([float(v) for v in x]) for x in message["xs"]]
            answer = {"ys": [plain(session.step(x)) for x in xs]}
        if count > 5:
            misbehave(mode, answer)
        print(json.dumps(answer), flush=True)


def misbehave(mode, answer):
    if mode == "dies":
        print("assertion failed: n > 0", file=sys.stderr, flush=True)
        os._exit(3)
    if mode == "silent":
        time.sleep(60)
    if mode == "nonsense":
        print("loading model...", flush=True)
    if mode == "list":
        print("[1, 2]", flush=True)
    if mode == "error":
        answer |= {"error": "out of memory"}
    if mode == "short" and "y" in answer:
        answer["y"] = answer["y"][:3]
    if mode == "words" and "y" in answer:
        answer["y"][0] = "many"
    if mode == "no_y":
        answer.pop("y", None)


if __name__ == "__main__":
    main(sys.argv[1])
