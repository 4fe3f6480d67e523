"""Files that PyTorch itself writes today, in the ways of test_torch_family.py, and its own run."""

from __future__ import annotations

import tarfile
import warnings

import numpy as np
import pytest
from framework_runs import excess_of_run

from lstm_fast import formats


@pytest.fixture(scope="module")
def torch():
    return pytest.importorskip("torch")


def model_of(torch, **options):
    class Model(torch.nn.Module):
        def __init__(self):
            super().__init__()
            torch.manual_seed(3)
            self.rnn = torch.nn.LSTM(3, 5, **options)
            self.head = torch.nn.Linear(5, 2)
            self.start = torch.tensor([1.0, 2.0])

        def forward(self, x):
            return self.head(self.rnn(x)[0]) + self.start

    return Model().eval()


def run_of(torch, rnn):
    """Return a run of one layer, step by step."""
    x = torch.randn(6, 3, generator=torch.Generator().manual_seed(1))
    state, h, c = None, [], []
    with torch.no_grad():
        for step in x:
            _, state = rnn(step[None, None], state)
            h.append(state[0].numpy()[:, 0])
            c.append(state[1].numpy()[:, 0])
    return {"x": x.numpy(), "h": np.array(h), "c": np.array(c)}


def is_its(torch, path, rnn):
    (found,) = formats.read(path)
    assert found.name == "rnn"
    weights = found.weights.state_dict()
    for name, value in rnn.state_dict().items():
        assert np.array_equal(weights[name], value.float().numpy())
    if rnn.weight_hh_l0.dtype == torch.float32:
        assert excess_of_run(found.weights, run_of(torch, rnn)) <= 1


def program_of(torch, model, dtype=None):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torch.export.export(model, (torch.zeros(1, 4, 3, dtype=dtype),))


def exported(torch, model, path, dtype=None):
    torch.export.save(program_of(torch, model, dtype), path)


def test_torch_export(torch, tmp_path):
    model = model_of(torch, batch_first=True)
    exported(torch, model, tmp_path / "m.pt2")
    is_its(torch, tmp_path / "m.pt2", model.rnn)


@pytest.mark.parametrize("dtype", ["float64", "bfloat16"])
def test_torch_export_of_other_dtypes(torch, dtype, tmp_path):
    model = model_of(torch, batch_first=True).to(getattr(torch, dtype))
    model.start = model.start.to(getattr(torch, dtype))
    exported(torch, model, tmp_path / "m.pt2", getattr(torch, dtype))
    is_its(torch, tmp_path / "m.pt2", model.rnn)


def test_torch_export_of_shared_weights(torch, tmp_path):
    model = model_of(torch, batch_first=True, num_layers=2)
    model.rnn.weight_hh_l1 = model.rnn.weight_hh_l0
    exported(torch, model, tmp_path / "m.pt2")
    (found,) = formats.read(tmp_path / "m.pt2")
    weights = found.weights.state_dict()
    assert np.array_equal(weights["weight_hh_l1"], model.rnn.weight_hh_l0.detach().numpy())


def test_the_layout_of_before(torch, tmp_path):
    """What torch._export wrote until 2.7: the serializer is still there."""
    serialize = pytest.importorskip("torch._export.serde.serialize").serialize
    import zipfile

    model = model_of(torch, batch_first=True)
    artifact = serialize(program_of(torch, model))
    path = tmp_path / "m.pt2"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("serialized_exported_program.json", artifact.exported_program)
        archive.writestr("serialized_state_dict.pt", artifact.state_dict)
        archive.writestr("serialized_constants.pt", artifact.constants)
        archive.writestr("version", "8.2")
    is_its(torch, path, model.rnn)


@pytest.mark.parametrize("mode", ["w:", "w:gz"])
def test_a_nemo_file(torch, mode, tmp_path):
    """As NeMo's SaveRestoreConnector packs a folder."""
    model = model_of(torch)
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "model_config.yaml").write_text("target: a.b\n")
    torch.save(model.state_dict(), folder / "model_weights.ckpt")
    with tarfile.open(tmp_path / "m.nemo", mode) as archive:
        archive.add(folder, arcname=".")
    is_its(torch, tmp_path / "m.nemo", model.rnn)


def test_shards(torch, tmp_path):
    import json

    model = model_of(torch)
    index = {}
    for n, (name, value) in enumerate(model.state_dict().items()):
        shard = f"pytorch_model-{n:05}-of-00006.bin"
        torch.save({name: value}, tmp_path / shard)
        index[name] = shard
    path = tmp_path / "pytorch_model.bin.index.json"
    path.write_text(json.dumps({"metadata": {}, "weight_map": index}))
    is_its(torch, path, model.rnn)
