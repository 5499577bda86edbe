"""Training of the layers: in place of torch's layers, in two processes, and on a task that requires mixing frames."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.rnn import pack_sequence

from temporal_shift import ShiftLSTM, ShiftTransformerLayer

from . import two_processes
from .two_processes import WITH_WEIGHTS, gradients, layer_and_input

STEPS = 20
pytestmark = pytest.mark.usefixtures("one_thread")


def buckets() -> list[tuple[list[Tensor], Tensor]]:
    """Batches of sequences of similar length, shortest first, with a label for each."""
    generator = torch.Generator().manual_seed(0)
    lengths = torch.randint(1, 30, (STEPS * 4,), generator=generator).sort().values.tolist()
    sequences = [torch.randn(length, 12, generator=generator) for length in lengths]
    return [(sequences[n : n + 4], torch.randint(3, (4,), generator=generator)) for n in range(0, len(sequences), 4)]


class ByPackedSequences(nn.Module):
    def __init__(self, lstm: nn.LSTM):
        super().__init__()
        self.lstm, self.head = lstm, nn.Linear(16, 3)

    def forward(self, sequences: list[Tensor]) -> Tensor:
        _, (h, _) = self.lstm(pack_sequence(sequences, enforce_sorted=False))
        return self.head(torch.cat([h[-2], h[-1]], dim=-1))


class ByPaddedSequences(nn.Module):
    def __init__(self, layer: nn.TransformerEncoderLayer):
        super().__init__()
        self.encoder, self.head = nn.TransformerEncoder(layer, 2), nn.Linear(12, 3)

    def forward(self, sequences: list[Tensor]) -> Tensor:
        lengths = torch.tensor([len(sequence) for sequence in sequences])
        x = nn.utils.rnn.pad_sequence(sequences, batch_first=True)
        padding = torch.arange(x.shape[1]) >= lengths[:, None]
        y = self.encoder(x, src_key_padding_mask=padding)
        return self.head(y.masked_fill(padding[..., None], 0.0).sum(1) / lengths[:, None])


def losses(model: nn.Module) -> list[float]:
    """The training and evaluation losses of 20 steps."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    found = []
    torch.manual_seed(1)  # dropout draws from this seed
    for sequences, labels in buckets():
        loss = F.cross_entropy(model.train()(sequences), labels)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        with torch.no_grad():
            found += [loss.item(), F.cross_entropy(model.eval()(sequences), labels).item()]
    return found


def with_weights_of(model: nn.Module, other: nn.Module) -> nn.Module:
    other.load_state_dict(model.state_dict())
    return other


def test_replacing_nn_lstm_with_stride_0_gives_the_same_losses_for_20_steps():
    options = {"num_layers": 2, "bidirectional": True, "dropout": 0.2}
    torchs = ByPackedSequences(nn.LSTM(12, 8, **options))
    ours = with_weights_of(torchs, ByPackedSequences(ShiftLSTM(12, 8, **options, stride=0)))
    shifted = with_weights_of(torchs, ByPackedSequences(ShiftLSTM(12, 8, **options)))
    expected = losses(torchs)
    assert losses(ours) == expected
    assert losses(shifted) != expected


@pytest.mark.parametrize("norm_first", [False, True])
@pytest.mark.filterwarnings("ignore:enable_nested_tensor", "ignore:The PyTorch API of nested tensors")
def test_replacing_a_transformer_layer_with_stride_0_gives_the_same_losses_for_20_steps(norm_first):
    options = {"dim_feedforward": 24, "dropout": 0.1, "batch_first": True, "norm_first": norm_first}
    torchs = ByPaddedSequences(nn.TransformerEncoderLayer(12, 4, **options))
    unshifted = ShiftTransformerLayer(12, 4, **options, placement="inplace", stride=0)
    shifted = ShiftTransformerLayer(12, 4, **options, placement="inplace")
    ours, moved = (
        with_weights_of(torchs, ByPaddedSequences(unshifted)),
        with_weights_of(torchs, ByPaddedSequences(shifted)),
    )
    expected = losses(torchs)
    assert losses(ours) == expected
    assert losses(moved) != expected


def events(size: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Noise with two events in neighbouring frames; the label is which of them is first."""
    x = 0.3 * torch.randn(size, 16, 8, generator=generator)
    labels = torch.randint(2, (size,), generator=generator)
    at = torch.randint(15, (size,), generator=generator)
    rows = torch.arange(size)
    x[rows, at + labels, 0] += 2.0
    x[rows, at + 1 - labels, 1] += 2.0
    return x, labels


class Classifier(nn.Module):
    """A stack of blocks, the mean over frames, a linear layer. In the blocks, only the shift mixes frames."""

    def __init__(self, stride: int):
        super().__init__()
        self.blocks = nn.Sequential(
            *(ShiftTransformerLayer(8, 2, 32, 0.0, "gelu", batch_first=True, stride=stride) for _ in range(2))
        )
        self.head = nn.Linear(8, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.blocks(x).mean(1))


@pytest.mark.parametrize(("stride", "min_", "max_"), [(1, 0.95, 1.0), (0, 0.45, 0.55)])
def test_a_model_learns_the_order_of_two_events_only_with_a_shift(stride, min_, max_):
    torch.manual_seed(0)
    generator = torch.Generator().manual_seed(0)
    model = Classifier(stride)
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-3)
    for _ in range(300):
        x, labels = events(64, generator)
        loss = F.cross_entropy(model(x), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    x, labels = events(4000, generator)  # new data, not trained on
    with torch.no_grad():
        accuracy = (model(x).argmax(1) == labels).float().mean().item()
    assert min_ <= accuracy <= max_


@pytest.mark.filterwarnings("ignore:Grad strides do not match bucket view strides")  # for weights of a convolution
def test_two_processes_give_the_same_gradients_as_one(tmp_path):
    arguments = str(tmp_path / "meeting"), str(tmp_path / "gradients.pt")
    command = [sys.executable, "-m", "tests.layers.two_processes", "1", *arguments]
    with subprocess.Popen(command, cwd=Path(__file__).parents[2]) as other:
        two_processes.main(0, *arguments)
        assert other.wait(timeout=300) == 0
    found = torch.load(tmp_path / "gradients.pt", weights_only=True)
    torch.testing.assert_close(found, {case.name: gradients(*layer_and_input(case)) for case in WITH_WEIGHTS})
