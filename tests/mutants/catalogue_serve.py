"""Mistakes in the live service: order, answers, restarts, limits and doors."""

from .mutant import Mutant

ORDER = "tests/serve/test_live_order.py::test_any_order_of_events"
ANSWERS = "tests/serve/test_serve_answers.py"
LIMITS = "tests/serve/test_serve_limits.py"
RESUME = "tests/serve/test_serve_resume.py"
DOORS = "tests/serve/test_serve_doors.py"

SERVE = [
    Mutant(
        "serve: a kept session may be written in any form",
        "lstm_fast/serve/keeping.py",
        "            if kept.to_bytes() != data:\n",
        "            if False:\n",
        RESUME + " -k forged",
    ),
    Mutant(
        "serve: what is in a kept session is believed",
        "lstm_fast/serve/keeping.py",
        "            kept._check()\n",
        "",
        RESUME + " -k forged",
    ),
    Mutant(
        "batcher: the newest frame of a session comes first",
        "lstm_fast/serve/batcher.py",
        "batch.append(session.frames.pop(0))",
        "batch.append(session.frames.pop())",
        ORDER,
    ),
    Mutant(
        "batcher: the output is a view of what the next tick writes to",
        "lstm_fast/serve/batcher.py",
        "rows.kept_output(at) if answer.keeps else rows.output(at)",
        "rows.output(at)",
        ORDER,
    ),
    Mutant(
        "batcher: a restored session begins from the start",
        "lstm_fast/serve/batcher.py",
        "pool.open(**told) if snapshot is None else pool.restore(snapshot, **told)",
        "pool.open(**told)",
        "tests/serve/test_live_sessions.py::test_a_session_goes_on_from_a_snapshot",
    ),
    Mutant(
        "serve: whole windows go past what is left of the one before",
        "lstm_fast/serve/calls.py",
        "if size == self._window_bytes and not before % self._chunks.size:",
        "if size == self._window_bytes:",
        ANSWERS + "::test_pcm_may_be_cut_anywhere",
    ),
    Mutant(
        "serve: whole windows are scaled by 32767",
        "lstm_fast/serve/calls.py",
        "SCALE = np.float32(1 / 32768)",
        "SCALE = np.float32(1 / 32767)",
        ANSWERS + "::test_pcm_may_be_cut_anywhere",
    ),
    Mutant(
        "serve: what is buffered is lost with the connection",
        "lstm_fast/serve/calls.py",
        "            self._chunks.restore(kept.chunks)\n",
        "            pass\n",
        RESUME + "::test_a_lost_connection",
    ),
    Mutant(
        "serve: speech that goes on is forgotten with the connection",
        "lstm_fast/serve/calls.py",
        "            self._events.restore(kept.events)\n",
        "            pass\n",
        RESUME + "::test_a_lost_connection",
    ),
    Mutant(
        "serve: answers are repeated that the client has had",
        "lstm_fast/serve/calls.py",
        "in self._replies:\n            if samples > self._received:\n",
        "in self._replies:\n            if True:\n",
        RESUME + "::test_answers_that_the_client_has_not_had_are_repeated",
    ),
    Mutant(
        "serve: a session that is over is kept",
        "lstm_fast/serve/calls.py",
        "        self.is_done = is_over and not self.is_kept\n",
        "        self.is_done = False\n",
        RESUME + "::test_a_session_that_is_over_is_not_kept",
    ),
    Mutant(
        "serve: a kept session is there for two",
        "lstm_fast/serve/keeping.py",
        '            _, data = self._memory.pop(session, (0.0, b""))\n',
        '            _, data = self._memory.get(session, (0.0, b""))\n',
        RESUME + "::test_what_is_kept_is_taken_once_and_forgotten_in_time",
    ),
    Mutant(
        "serve: what was taken is not answered where a rule is broken",
        "lstm_fast/serve/hub.py",
        "await call.settle()  # all that was taken",
        "# all that was taken",
        LIMITS + "::test_a_client_that_floods_is_closed",
    ),
    Mutant(
        "serve: floods are let through",
        "lstm_fast/serve/calls.py",
        "        if allowed < 0:\n",
        "        if False:\n",
        LIMITS + "::test_a_client_that_floods_is_closed",
    ),
    Mutant(
        "serve: any beginning of the token will do",
        "lstm_fast/serve/origins.py",
        'return hmac.compare_digest((token or "").encode(), self._token)',
        'return self._token.startswith((token or "").encode())',
        DOORS + "::test_a_token_in_the_start_message",
    ),
    Mutant(
        "serve: a name that begins as ours is ours",
        "lstm_fast/serve/origins.py",
        "return urlsplit(f\"//{host or ''}\").hostname in self._hosts",
        'return (host or "").startswith(tuple(self._hosts))',
        DOORS + "::test_gates",
    ),
]
