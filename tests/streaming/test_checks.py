"""Creating a stream raises an error if its output would differ from the output of the net."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from temporal_shift import ShiftGRU, ShiftLSTM, ShiftTransformerLayer, TemporalShift
from temporal_shift.streaming import FramewiseStream, stream

pytestmark = pytest.mark.usefixtures("one_thread")


class Skip(nn.Sequential):
    def forward(self, x: Tensor) -> Tensor:
        return x + super().forward(x)


class WithoutMean(nn.Linear):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x - x.mean(-2, keepdim=True))


class Cumulative(nn.ReLU):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.cumsum(-2))


class Called(nn.Linear):
    def __call__(self, x: Tensor) -> Tensor:
        return super().__call__(x.cumsum(-2))


class OwnEncoder(nn.TransformerEncoder):
    def forward(self, src: Tensor, **options: Any) -> Tensor:
        return src + super().forward(src, **options)


class OwnBlock(ShiftTransformerLayer):
    def forward(self, src: Tensor, *args: Any, **options: Any) -> Tensor:
        return super().forward(src.cumsum(-2), *args, **options)


class OwnLSTM(ShiftLSTM):
    def forward(self, input: Any, hx: Any = None) -> Any:
        return super().forward(input.flip(-2), hx)


class OwnShift(TemporalShift):
    def forward(self, x: Tensor, **options: Any) -> Any:
        return super().forward(x, **options).cumsum(-2)


def block(kind: type[ShiftTransformerLayer] = ShiftTransformerLayer, **options: Any) -> ShiftTransformerLayer:
    return kind(8, 2, 16, batch_first=True, **options)


def patched() -> nn.Module:
    layer = nn.Linear(8, 8)
    layer.forward = lambda x: x.cumsum(-2)
    return layer


@pytest.mark.parametrize(
    "net",
    [
        Skip(nn.Linear(8, 8)),
        WithoutMean(8, 8),
        Cumulative(),
        Called(8, 8),
        OwnEncoder(block(), 1, enable_nested_tensor=False),
        block(OwnBlock),
        OwnLSTM(8, 8, batch_first=True),
        OwnShift(),
        patched(),
    ],
    ids=lambda net: type(net).__name__,
)
def test_a_module_that_overrides_forward_raises_an_error(net):
    message = f"^{type(net).__name__} cannot stream, because it overrides forward"
    for whole in (net, nn.Sequential(nn.Linear(8, 8), nn.Sequential(net)), TemporalShift(net)):
        with pytest.raises(ValueError, match=message):
            stream(whole)
    if hasattr(net, "stream"):
        with pytest.raises(ValueError, match=message):
            net.stream()


class Wrapper(nn.Module):
    """Forwards attributes to its inner module."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def __getattr__(self, name: str) -> Any:
        try:
            return super().__getattr__(name)
        except AttributeError:
            return getattr(super().__getattr__("inner"), name)

    def forward(self, x: Tensor) -> Tensor:
        return self.inner(x).cumsum(1)


def with_a_part_named_stream() -> nn.Module:
    net = nn.Module()
    net.stream = nn.Linear(8, 8)
    return net


@pytest.mark.parametrize("net", [torch.compile(block(), backend="eager"), Wrapper(block()), with_a_part_named_stream()])
def test_a_wrapper_does_not_use_the_stream_of_its_inner_module(net):
    with pytest.raises(ValueError, match=rf"^{type(net).__name__} cannot stream.*pass that net"):
        stream(net)


@pytest.mark.parametrize("net", ["Linear", None, nn.Linear, lambda x: x])
def test_a_net_that_is_not_a_module_raises_an_error(net):
    with pytest.raises(TypeError, match=r"net must be a torch\.nn\.Module, got"):
        stream(net)


class Stack(nn.Sequential):
    def __init__(self) -> None:
        super().__init__(nn.Linear(8, 8), block(), nn.GELU())


def parametrized() -> nn.Module:
    net = nn.Sequential(nn.Linear(8, 8), block())
    nn.utils.parametrizations.weight_norm(net[0])
    nn.utils.parametrizations.weight_norm(net[1].linear1)
    return net


@pytest.mark.parametrize("net", [Stack(), parametrized()], ids=["subclass", "weight_norm"])
def test_a_subclass_that_inherits_forward_and_a_parametrized_module_stream(net):
    net.double().eval()
    x, live = torch.randn(2, 9, 8, dtype=torch.float64), stream(net)
    streamed = torch.cat([live(x[:, :4]), live(x[:, 4:]), live.flush()], dim=1)
    torch.testing.assert_close(streamed, net(x))


HOOKS = {
    "forward": lambda layer: layer.register_forward_hook(lambda module, args, output: output + 1),
    "pre-forward": lambda layer: layer.register_forward_pre_hook(lambda module, args: None),
    "backward": lambda layer: layer.register_full_backward_hook(lambda module, inputs, outputs: None),
    "pre-backward": lambda layer: layer.register_full_backward_pre_hook(lambda module, outputs: None),
}


@pytest.mark.parametrize("register", HOOKS.values(), ids=HOOKS.keys())
@pytest.mark.parametrize("name", ["0", "1", "1.linear2"])
def test_a_module_with_a_hook_raises_an_error_until_the_hook_is_removed(name, register):
    net = nn.Sequential(nn.Linear(8, 8), block()).eval()
    hooked = net.get_submodule(name)
    handle = register(hooked)
    with pytest.raises(ValueError, match=rf"^{type(hooked).__name__} \({name}\) cannot stream with hooks"):
        stream(net)
    if name == "1":
        with pytest.raises(ValueError, match=r"^ShiftTransformerLayer cannot stream with hooks"):
            hooked.stream()
    handle.remove()
    assert stream(net).delay == 1


class Custom(nn.Module):
    """A module that claims to work frame by frame, which is false if it subtracts a mean ``over`` the frames."""

    def __init__(self, over: int | None = None) -> None:
        super().__init__()
        self.over, self.linear, self.dropout = over, nn.Linear(8, 8), nn.Dropout(0.5)
        self.register_buffer("calls", torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        y = self.dropout(self.linear(x))
        return y if self.over is None else y - y.mean(self.over, keepdim=True)

    def stream(self) -> FramewiseStream:
        return FramewiseStream(self)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
@pytest.mark.parametrize(
    ("around", "time"),
    [
        (lambda net: net, -2),
        (lambda net: nn.Sequential(TemporalShift(stride=-5), net, TemporalShift(bidirectional=True)), 1),
        (lambda net: nn.Sequential(ShiftTransformerLayer(8, 2, 16), net), 0),
    ],
    ids=["alone", "after a delay", "time-major"],
)
def test_a_stream_whose_output_differs_from_the_whole_raises_an_error(around, time, dtype):
    assert stream(around(Custom()).to(dtype)).delay in (0, 1, 6)
    with pytest.raises(ValueError, match=r"cannot stream: for a random sequence, the outputs of its chunks differ"):
        stream(around(Custom(over=time)).to(dtype))


def test_the_check_does_not_change_training_mode_buffers_gradients_or_random_state():
    net = nn.Sequential(Custom(), block()).train()
    net[0].dropout.eval()
    modes = [module.training for module in net.modules()]
    before = torch.get_rng_state()
    with torch.autocast("cpu", torch.bfloat16):
        stream(net)
    assert [module.training for module in net.modules()] == modes
    assert net[0].calls == 0
    assert all(parameter.grad is None for parameter in net.parameters())
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize(
    "net",
    [
        TemporalShift(n_div=100),
        TemporalShift(groups=[(40, 1), (2, -3)], time_dim=2, channel_dim=1),
        TemporalShift(time_dim=-1, channel_dim=-2, stride=-100_000_000, padding_mode="replicate"),
        nn.Sequential(ShiftGRU(5, 6), nn.Linear(6, 4)),
        nn.Sequential(nn.Linear(8, 8, device="meta"), TemporalShift()),
        nn.Identity(),
    ],
)
def test_nets_with_any_layout_width_delay_and_device_pass_the_check(net):
    assert stream(net).delay >= 0


def test_a_stream_ignores_the_default_device():
    nets = [nn.Sequential(nn.Linear(8, 8), TemporalShift(n_div=4)).eval(), ShiftLSTM(8, 8, batch_first=True).eval()]
    for net in nets:
        x = torch.randn(1, 4, 8)
        expected = stream(net)(x)
        with torch.device("meta"):
            found = stream(net)(x)
        assert torch.equal(found, expected)
