"""Rows with generated_value and expected_value: their form, and FutureAGI's client taking them."""

from __future__ import annotations

import csv
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest

from lstm_fast import evaluate
from lstm_fast.evaluate import Labelled, by_steps

pytest.importorskip("scipy")

INPUTS = ("generated_value", "expected_value")  # of ground_truth_match, both strings


def result(golds=("a", "b", "c,\n'\"é"), answers=("a", "a", "c,\n'\"é")):
    rest = iter(answers)
    items = [Labelled(np.zeros((n + 1, 1)), gold, id=f"u{n}") for n, gold in enumerate(golds)]
    return evaluate.run(lambda xs: (next(rest), 0.5), items, by_steps([2]))


@pytest.mark.parametrize(
    ("golds", "answers", "texts"),
    [
        (("a", "b"), ("a", "a"), [("a", "a"), ("a", "b")]),
        ((3, -1), (3, 4), [("3", "3"), ("4", "-1")]),
        ((True, True), (False, True), [("False", "True"), ("True", "True")]),
    ],
)
def test_both_are_strings_and_equal_where_the_answer_is_right(golds, answers, texts):
    rows = list(result(golds, answers).rows())
    assert [(row["generated_value"], row["expected_value"]) for row in rows] == texts
    assert all(type(row[name]) is str for row in rows for name in INPUTS)
    assert [row["correct"] for row in rows] == [made == right for made, right in texts]


def test_what_else_is_in_a_row():
    row = list(result().rows())[1]
    assert row.pop("seconds") > 0
    assert row == {
        "generated_value": "a",
        "expected_value": "b",
        "id": "u1",
        "correct": False,
        "confidence": 0.5,
        "steps": 2,
        "seen": 2,
        "error": None,
        "cohort: steps": "2+",
    }
    assert [tuple(row) for row in result().rows(details=False)] == [INPUTS] * 3


def test_files_have_the_rows(tmp_path):
    made = result()
    rows = list(made.rows())
    for suffix in ("csv", "json", "jsonl"):
        made.write_rows(tmp_path / f"rows.{suffix}")
    assert json.loads((tmp_path / "rows.json").read_text("utf-8")) == rows
    lines = (tmp_path / "rows.jsonl").read_text("utf-8").splitlines()
    assert [json.loads(line) for line in lines] == rows
    with (tmp_path / "rows.csv").open(encoding="utf-8", newline="") as file:
        read = list(csv.DictReader(file))
    assert [list(row) for row in read] == [list(row) for row in rows]
    assert [row["generated_value"] for row in read] == ["a", "a", "c,\n'\"é"]
    assert [float(row["confidence"]) for row in read] == [0.5] * 3
    with pytest.raises(ValueError, match=r"none of .csv, .json, .jsonl"):
        made.write_rows(tmp_path / "rows.xlsx")


def test_the_summary_is_json():
    summary = json.loads(json.dumps(result().to_json()))
    assert summary["overall"]["correct"] == 2
    assert set(summary["buckets"]["steps"][0]["fail_rate"]) == {"value", "low", "high"}


# ---- the client itself, where PyPI's ai-evaluation is installed


class Service(BaseHTTPRequestHandler):
    """As much of the service as the client calls: the list of evaluations, and an evaluation.

    As the real one does, it refuses inputs that the evaluation does not know.
    """

    posts: list[dict]

    def log_message(self, *args):
        pass

    def answer(self, content, status=200):
        body = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self):
        if "get-evals" not in self.path:
            return self.answer({}, 404)
        config = {"required_keys": list(INPUTS)}
        return self.answer({"result": [{"name": "ground_truth_match", "config": config}]})

    def do_POST(self):
        sent = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.posts.append(sent)
        inputs = sent["inputs"]
        if sent["eval_name"] != "ground_truth_match" or set(inputs) != set(INPUTS):
            return self.answer({"detail": "unknown inputs"}, 400)
        equal = inputs["generated_value"] == inputs["expected_value"]
        verdict = {
            "name": sent["eval_name"],
            "output": "Passed" if equal else "Failed",
            "reason": "",
            "runtime": 1,
            "output_type": "Pass/Fail",
            "eval_id": "1",
        }
        return self.answer({"result": [{"evaluations": [verdict]}]})


@pytest.fixture
def service():
    handler = type("OwnService", (Service,), {"posts": []})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}", handler.posts
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.filterwarnings("default")  # the client's own
def test_the_client_takes_rows_as_they_are(service, tmp_path):
    fi = pytest.importorskip("fi.evals", reason="needs PyPI's ai-evaluation")
    url, posts = service
    evaluator = fi.Evaluator(fi_api_key="none", fi_secret_key="none", fi_base_url=url)
    made = result()
    made.write_rows(tmp_path / "rows.csv")
    with (tmp_path / "rows.csv").open(encoding="utf-8", newline="") as file:
        read = list(csv.DictReader(file))
    for rows in (list(made.rows()), list(made.rows(details=False)), read):
        posts.clear()
        outputs = [
            evaluator.evaluate("ground_truth_match", row).eval_results[0].output for row in rows
        ]
        assert outputs == ["Passed", "Failed", "Passed"]
        assert [sent["inputs"] for sent in posts] == list(made.rows(details=False))
    renamed = {"said": "a", "gold": "a"}  # negative control
    assert evaluator.evaluate("ground_truth_match", renamed).eval_results[0].output != "Passed"
