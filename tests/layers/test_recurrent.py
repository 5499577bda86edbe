"""ShiftLSTM is an nn.LSTM, and ShiftGRU an nn.GRU."""

from __future__ import annotations

import inspect
import itertools
from collections.abc import Callable
from operator import itemgetter
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence, pack_sequence, unpack_sequence

from temporal_shift import ShiftGRU, ShiftLSTM, temporal_shift

PAIRS = [(ShiftLSTM, nn.LSTM), (ShiftGRU, nn.GRU)]
OPTIONS = [
    {},
    {"batch_first": True},
    {"num_layers": 2, "bidirectional": True},
    {"bias": False, "batch_first": True, "bidirectional": True},
    {"num_layers": 3, "dropout": 0.5},
    {"proj_size": 5, "num_layers": 2, "batch_first": True},
]
STACKS = [
    {"num_layers": 2},
    {"num_layers": 3, "bidirectional": True, "batch_first": True},
    {"num_layers": 3, "dropout": 0.5},
    {"num_layers": 2, "bias": False, "batch_first": True},
    {"num_layers": 2, "proj_size": 5, "bidirectional": True},
]
pytestmark = [
    pytest.mark.filterwarnings("ignore:LSTM with projections is not supported with oneDNN"),
    pytest.mark.usefixtures("one_thread"),
]
BOTH_WAYS = {"n_div": 3, "stride": 2, "bidirectional_shift": True}

each_kind = pytest.mark.parametrize(("ours", "torchs"), PAIRS, ids=["LSTM", "GRU"])


def each_kind_with(all_options: list[dict[str, Any]]) -> pytest.MarkDecorator:
    """``ShiftLSTM`` with all options, and ``ShiftGRU`` with the options without ``proj_size``."""
    cases = [
        (*pair, options)
        for pair, options in itertools.product(PAIRS, all_options)
        if pair[1] is nn.LSTM or "proj_size" not in options
    ]
    return pytest.mark.parametrize(
        ("ours", "torchs", "options"), cases, ids=[f"{torchs.__name__}-{options}" for _, torchs, options in cases]
    )


def spread(all_options: list[dict[str, Any]], **axes: list[Any]) -> pytest.MarkDecorator:
    """``ShiftLSTM`` with all options, and ``ShiftGRU`` with the options without ``proj_size``.

    A case has one value of each of the at most three ``axes``. The values rotate: not every combination occurs.
    """
    cases = []
    for number, (pair, options) in enumerate(itertools.product(PAIRS, all_options)):
        if pair[1] is nn.LSTM or "proj_size" not in options:  # a GRU has no projection
            chosen = [values[number // step % len(values)] for step, values in zip((1, 2, 3), axes.values())]  # noqa: B905
            cases.append(pytest.param(*pair, options, *chosen, id=f"{pair[1].__name__}-{options}-{chosen}"))
    return pytest.mark.parametrize(("ours", "torchs", "options", *axes), cases)


def layer_pair(ours: type[nn.RNNBase], torchs: type[nn.RNNBase], options: dict[str, Any], **shift: Any) -> Any:
    """A layer of this package, and torch's layer with the same weights."""
    layer, plain = ours(12, 8, **options, **shift), torchs(12, 8, **options)
    plain.load_state_dict(layer.state_dict())
    return layer, plain


def seeded(function: Callable[..., Any], *args: Any) -> Any:
    """The output of ``function`` with a fixed seed for dropout."""
    torch.manual_seed(7)
    return function(*args)


def assert_equal(ours: Any, torchs: Any) -> None:
    torch.testing.assert_close(ours, torchs, rtol=0, atol=0)


def shifted(x: Any, layer: Any) -> Any:
    """The shifted input for torch's layer. Each packed sequence is shifted on its own."""
    shift = {"n_div": layer.n_div, "stride": layer.stride, "bidirectional": layer.bidirectional_shift}
    if isinstance(x, PackedSequence):
        alone = [temporal_shift(sequence, **shift) for sequence in unpack_sequence(x)]
        return pack_sequence(alone, enforce_sorted=x.sorted_indices is None)
    return temporal_shift(x, **shift, time_dim=1 if layer.batch_first and x.dim() == 3 else 0)


def inputs(form: str) -> Any:
    """A batch of three, one sequence, or three packed sequences, sorted by length or not."""
    if form == "batched":
        return torch.randn(3, 3, 12)
    if form == "unbatched":
        return torch.randn(5, 12)
    lengths = {"packed": (6, 4, 1), "packed unsorted": (4, 1, 6), "packed single frames": (1, 1, 1)}[form]
    return pack_sequence([torch.randn(n, 12) for n in lengths], enforce_sorted=form == "packed")


def initial_state(layer: nn.RNNBase, form: str, **changed: int) -> Any:
    """A random initial state. ``changed`` may replace the right size of ``rows`` or ``batch``."""
    rows = changed.get("rows", layer.num_layers * (2 if layer.bidirectional else 1))
    batch = [] if form == "unbatched" else [changed.get("batch", 3)]
    h = torch.randn(rows, *batch, layer.proj_size or layer.hidden_size)
    return (h, torch.randn(rows, *batch, layer.hidden_size)) if layer.mode == "LSTM" else h


def of_each(states: Any, function: Callable[[Tensor], Tensor]) -> Any:
    return function(states) if isinstance(states, Tensor) else tuple(map(function, states))


def chain(layer: Any, torchs: type[nn.RNNBase]) -> Callable[..., Any]:
    """A function that runs torch's layers with the weights of ``layer`` one by one, with a shift before each."""
    kept = {name: getattr(layer, name) for name in ("bias", "batch_first", "bidirectional")}
    kept |= {"proj_size": layer.proj_size} if torchs is nn.LSTM else {}
    singles = []
    for i in range(layer.num_layers):
        weights = {k.replace(f"_l{i}", "_l0"): v for k, v in layer.state_dict().items() if f"_l{i}" in k}
        singles.append(torchs(weights["weight_ih_l0"].shape[1], layer.hidden_size, **kept).to(weights["weight_ih_l0"]))
        singles[-1].load_state_dict(weights)

    def chained(x: Any, hx: Any = None) -> Any:
        directions, last = 2 if layer.bidirectional else 1, []
        for i, single in enumerate(singles):
            rows = slice(i * directions, (i + 1) * directions)
            own = None if hx is None else of_each(hx, itemgetter(rows))
            x, state = single(shifted(x, layer), own)
            last.append(state)
            if i + 1 < layer.num_layers:
                x = with_dropout(x, layer.dropout, layer.training)
        return x, torch.cat(last) if layer.mode == "GRU" else tuple(map(torch.cat, zip(*last, strict=True)))

    chained.singles = singles
    return chained


def with_dropout(x: Any, share: float, training: bool) -> Any:
    if isinstance(x, PackedSequence):
        return PackedSequence(F.dropout(x.data, share, training), *x[1:])
    return F.dropout(x, share, training)


def message_of(act: Callable[[], Any]) -> tuple[type[BaseException], str]:
    with pytest.raises(Exception) as error:  # noqa: PT011
        act()
    return error.type, str(error.value)


@each_kind
def test_the_layer_is_a_subclass_of_torchs_layer(ours, torchs):
    assert isinstance(ours(12, 8), torchs)


@spread(OPTIONS, form=["batched", "packed unsorted", "unbatched", "packed"], every=[False, True])
def test_with_stride_0_the_layer_equals_torchs_layer_bit_for_bit(ours, torchs, options, form, every):
    layer, plain = layer_pair(ours, torchs, options, stride=0, shift_every_layer=every)
    x, state = inputs(form), initial_state(layer, form)
    assert_equal(seeded(layer, x), seeded(plain, x))
    assert_equal(seeded(layer, x, state), seeded(plain, x, state))


@spread(OPTIONS, form=["batched", "unbatched"])
def test_the_layer_equals_torchs_layer_on_the_shifted_input(ours, torchs, options, form):
    layer, plain = layer_pair(ours, torchs, options, **BOTH_WAYS)
    x, state = inputs(form), initial_state(layer, form)
    assert_equal(seeded(layer, x), seeded(plain, shifted(x, layer)))
    assert_equal(seeded(layer, x, state), seeded(plain, shifted(x, layer), state))


@each_kind
def test_by_default_one_channel_in_four_reads_the_frame_before(ours, torchs):
    layer, plain = layer_pair(ours, torchs, {})
    x = torch.randn(5, 2, 12)
    moved = x.clone()
    moved[1:, :, :3], moved[0, :, :3] = x[:-1, :, :3], 0
    assert_equal(layer(x), plain(moved))


@spread(OPTIONS, form=["packed", "packed unsorted", "packed single frames"], stride=[1, -2])
def test_a_packed_batch_is_shifted_within_each_sequence(ours, torchs, options, form, stride):
    layer, plain = layer_pair(ours, torchs, options, stride=stride, bidirectional_shift=True)
    x, state = inputs(form), initial_state(layer, form)
    output = seeded(layer, x)
    assert isinstance(output[0], PackedSequence)
    assert_equal(output, seeded(plain, shifted(x, layer)))
    assert_equal(seeded(layer, x, state), seeded(plain, shifted(x, layer), state))


@each_kind
@pytest.mark.parametrize(("every", "form"), [(False, "packed"), (True, "packed unsorted")])
def test_each_packed_sequence_and_its_state_equal_those_of_the_sequence_alone(ours, torchs, every, form):
    layer = ours(12, 8, 2, bidirectional=True, shift_every_layer=every, bidirectional_shift=True)
    packed, state = inputs(form), initial_state(layer, form)
    output, last = layer(packed, state)
    for i, (sequence, given) in enumerate(zip(unpack_sequence(packed), unpack_sequence(output), strict=True)):
        own = of_each(state, lambda part: part[:, i])  # noqa: B023
        torch.testing.assert_close((given, of_each(last, lambda part: part[:, i])), layer(sequence, own))  # noqa: B023


@spread(
    STACKS + STACKS[::-1],
    form=["batched", "packed unsorted", "unbatched", "packed", "packed single frames"],
    with_state=[True, False],
    training=[True, False],
)
def test_shift_every_layer_equals_a_chain_of_shifts_and_torchs_layers(
    ours, torchs, options, form, with_state, training
):
    layer = ours(12, 8, **options, **BOTH_WAYS, shift_every_layer=True).train(training)
    x, state = inputs(form), initial_state(layer, form) if with_state else None
    torch.testing.assert_close(seeded(layer, x, state), seeded(chain(layer, torchs), x, state))


@each_kind
def test_shift_every_layer_shifts_more_than_the_first_layer(ours, torchs):
    every = ours(12, 8, 2, shift_every_layer=True)
    first = ours(12, 8, 2)
    first.load_state_dict(every.state_dict())
    x = torch.randn(5, 2, 12)
    assert not torch.allclose(every(x)[0], first(x)[0])


@spread(
    [{}, {"bidirectional": True}, {"proj_size": 5, "batch_first": True}],
    form=["batched", "unbatched", "packed unsorted"],
)
def test_with_one_layer_shift_every_layer_changes_nothing(ours, torchs, options, form):
    every, plain = layer_pair(ours, torchs, options, shift_every_layer=True)
    x = inputs(form)
    assert_equal(every(x), plain(shifted(x, every)))


@each_kind
@pytest.mark.parametrize(
    ("form", "changed", "every"),
    [("batched", {"rows": 1}, True), ("batched", {"batch": 4}, True), ("unbatched", {"rows": 3}, False)],
)
def test_an_initial_state_that_does_not_fit_raises_torchs_error(ours, torchs, every, form, changed):
    layer, plain = layer_pair(ours, torchs, {"num_layers": 2}, shift_every_layer=every)
    x, state = inputs(form), initial_state(layer, form, **changed)
    assert message_of(lambda: layer(x, state)) == message_of(lambda: plain(x, state))


@each_kind
@pytest.mark.parametrize(("form", "changed"), [("packed", {"rows": 1}), ("packed unsorted", {"batch": 4})])
def test_a_wrong_state_for_packed_sequences_raises_an_error_with_shift_every_layer(ours, torchs, form, changed):
    layer = ours(12, 8, 2, shift_every_layer=True)
    rows, batch = changed.get("rows", 2), changed.get("batch", 3)
    with pytest.raises(RuntimeError, match=rf"hidden.*\(2, 3, 8\), got \[{rows}, {batch}, 8\]"):
        layer(inputs(form), initial_state(layer, form, **changed))


@each_kind
@pytest.mark.parametrize(
    ("form", "form_of_state", "every"), [("batched", "unbatched", True), ("unbatched", "batched", False)]
)
def test_a_state_with_the_wrong_number_of_dims_raises_an_error(ours, torchs, every, form, form_of_state):
    layer = ours(12, 8, 2, shift_every_layer=every)
    with pytest.raises(RuntimeError, match=r"^Expected hidden(\[0\])? size|^For (un)?batched .-D input, hx "):
        layer(inputs(form), initial_state(layer, form_of_state))


@each_kind
@pytest.mark.parametrize(("shape", "every"), [((5, 2, 13), False), ((5, 11), True)])
def test_an_input_with_the_wrong_number_of_channels_raises_torchs_error(ours, torchs, every, shape):
    layer, plain = layer_pair(ours, torchs, {"num_layers": 2}, shift_every_layer=every)
    assert message_of(lambda: layer(torch.randn(shape))) == message_of(lambda: plain(torch.randn(shape)))


@each_kind
@pytest.mark.parametrize("every", [False, True])
def test_an_input_with_four_dims_raises_an_error(ours, torchs, every):
    layer = ours(12, 8, 2, shift_every_layer=every)
    messages = "Expected input to be 2D or 3D, got 4D instead|input must have 3 dimensions, got 4"
    with pytest.raises((ValueError, RuntimeError), match=messages):
        layer(torch.randn(1, 5, 2, 12))


@each_kind
def test_gradients_equal_those_of_torchs_layer_on_the_shifted_input(ours, torchs):
    layer, plain = layer_pair(ours, torchs, {"num_layers": 2, "bidirectional": True}, **BOTH_WAYS)
    x, weight = torch.randn(5, 3, 12, requires_grad=True), torch.randn(5, 3, 16)
    gradients = torch.autograd.grad(layer(x)[0], [x, *layer.parameters()], weight)
    assert_equal(gradients, torch.autograd.grad(plain(shifted(x, layer))[0], [x, *plain.parameters()], weight))


@each_kind
def test_gradients_with_shift_every_layer_equal_those_of_the_chain(ours, torchs):
    layer = ours(12, 8, 2, bidirectional=True, **BOTH_WAYS, shift_every_layer=True)
    chained = chain(layer, torchs)
    parameters = [parameter for single in chained.singles for parameter in single.parameters()]
    x, weight = torch.randn(5, 3, 12, requires_grad=True), torch.randn(5, 3, 16)
    gradients = torch.autograd.grad(layer(x)[0], [x, *layer.parameters()], weight)
    torch.testing.assert_close(gradients, torch.autograd.grad(chained(x)[0], [x, *parameters], weight))


@each_kind_with(OPTIONS[-2:])
def test_the_layer_and_torchs_layer_load_each_others_state_dicts(ours, torchs, options):
    plain, layer, back = torchs(12, 8, **options), ours(12, 8, **options), torchs(12, 8, **options)
    assert list(layer.state_dict()) == list(plain.state_dict())
    layer.load_state_dict(plain.state_dict(), strict=True)
    back.load_state_dict(layer.state_dict(), strict=True)
    assert_equal(dict(back.state_dict()), dict(plain.state_dict()))


@each_kind
def test_flatten_parameters_does_not_change_the_output(ours, torchs):
    layer, x = ours(12, 8, 2, shift_every_layer=True), torch.randn(5, 2, 12)
    before = layer(x)
    layer.flatten_parameters()
    assert_equal(layer(x), before)


@each_kind
def test_the_layer_takes_every_argument_of_torchs_layer_at_the_same_position(ours, torchs):
    theirs = dict(inspect.signature(nn.RNNBase).parameters)
    del theirs["mode"]
    if torchs is nn.GRU:
        del theirs["proj_size"]
    parameters = inspect.signature(ours).parameters
    assert list(parameters)[: len(theirs)] == list(theirs)
    assert [parameters[name].default for name in theirs] == [parameter.default for parameter in theirs.values()]
    added = list(parameters.values())[len(theirs) :]
    assert not any(parameter.kind is inspect.Parameter.POSITIONAL_OR_KEYWORD for parameter in added)


def test_a_gru_raises_torchs_error_for_an_argument_that_only_an_lstm_has():
    for layer in (nn.GRU, ShiftGRU):
        with pytest.raises(ValueError, match="proj_size"):
            layer(12, 8, proj_size=3)
    with pytest.raises(TypeError, match="unknown"):
        ShiftGRU(12, 8, unknown=3)


@each_kind
def test_the_layer_can_replace_torchs_class(ours, torchs, monkeypatch):
    x = torch.randn(5, 2, 12)
    for module in (nn, nn.modules, nn.modules.rnn):
        monkeypatch.setattr(module, torchs.__name__, ours)
    layer = getattr(nn, torchs.__name__)(12, 8, 2, shift_every_layer=True)
    assert type(layer) is ours
    assert layer(x)[0].shape == (5, 2, 8)


@each_kind
def test_arguments_have_the_same_meaning_as_in_torchs_layer(ours, torchs):
    positional = (12, 8, 2, False, True, 0.25, True, *([3] if torchs is nn.LSTM else []))
    layer, plain = ours(*positional, device="meta", dtype=torch.bfloat16), torchs(*positional, device="meta")
    assert repr(layer).startswith(repr(plain)[:-1].replace(torchs.__name__, ours.__name__, 1))
    assert {(parameter.dtype, parameter.device.type) for parameter in layer.parameters()} == {(torch.bfloat16, "meta")}


@each_kind
def test_the_repr_shows_the_shift(ours, torchs):
    name = ours.__name__
    shift = "n_div=4, stride=1, bidirectional_shift=False"
    assert repr(ours(12, 8, batch_first=True)) == f"{name}(12, 8, batch_first=True, {shift})"
    assert (
        repr(ours(12, 8, 2, shift_every_layer=True)) == f"{name}(12, 8, num_layers=2, {shift}, shift_every_layer=True)"
    )


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"n_div": 13}, ValueError, r"n_div.*\[1, 12\].*13"),
        ({"n_div": 1, "bidirectional_shift": True}, ValueError, r"n_div.*\[2, 12\].*1"),
        ({"stride": 1.0}, TypeError, r"stride must be an int.*1\.0"),
        ({"bidirectional_shift": 1}, TypeError, r"bidirectional_shift must be a bool.*1"),
        ({"shift_every_layer": 1}, TypeError, r"shift_every_layer must be a bool.*1"),
        ({"num_layers": 2, "shift_every_layer": True, "n_div": 10}, ValueError, r"n_div.*\[1, 8\].*10"),
    ],
)
def test_construction_errors_name_the_wrong_argument(options, error, message):
    for layer in (ShiftLSTM, ShiftGRU):
        with pytest.raises(error, match=message):
            layer(12, 8, **options)
