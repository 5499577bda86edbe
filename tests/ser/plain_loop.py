"""The paper's training as a plain PyTorch loop, written from its description: no Trainer, no config, no cache."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from torch import Tensor, nn
from transformers import AutoModel

from temporal_shift.ser.models.frame_classifier import FrameClassifier, FrameClassifierConfig

EPOCHS, BATCH, BASE_RATE, CLIP = 100, 32, 5e-4, 5.0
BLOCKS = {  # of the six models: what they are made of, and their shift
    "CNN": ("conv", None),
    "ShiftCNN": ("conv", {"placement": "residual", "n_div": 16}),
    "LSTM": ("lstm", None),
    "ShiftLSTM": ("lstm", {"placement": "inplace", "n_div": 4}),
    "Transformer": ("transformer", None),
    "Shiftformer": ("transformer", {"placement": "replace", "n_div": 4, "bidirectional": True}),
}


def features_rate(step: int, steps_per_epoch: int) -> float:
    t, total, warmup = max(step - 1, 0), EPOCHS * steps_per_epoch, 5 * steps_per_epoch
    if t < warmup:
        return 5e-7 + t * (BASE_RATE - 5e-7) / warmup
    return 5e-6 + 0.5 * (BASE_RATE - 5e-6) * (1 + math.cos(math.pi * t / total))


def finetune_rate(step: int, steps_per_epoch: int) -> float:
    return BASE_RATE * (step // steps_per_epoch) / (5 * steps_per_epoch)


def plain_loop(
    inputs: Tensor, labels: Tensor, model: str, backbone: Path | None, seed_of_step: Callable[[int], int]
) -> Iterator[tuple[float, float, float]]:
    """Loss, learning rate and gradient norm of each step; ``inputs`` are frames, or clips where a backbone learns."""
    encoder = None if backbone is None else AutoModel.from_pretrained(backbone).train()
    if encoder is not None:
        encoder.config.apply_spec_augment = False
        encoder.feature_extractor.requires_grad_(False)
    frames, channels = inputs.shape[1:] if encoder is None else encoder(inputs[:1]).last_hidden_state.shape[1:]
    torch.manual_seed(42)
    blocks, shift = BLOCKS[model]
    classifier = FrameClassifier(
        FrameClassifierConfig(
            blocks, shift, channels, frames, id2label=dict(enumerate(("happy", "angry", "sad", "neutral")))
        )
    ).train()
    parameters = [p for module in (encoder, classifier) if module for p in module.parameters() if p.requires_grad]
    steps_per_epoch = math.ceil(len(inputs) / BATCH)
    if encoder is None:
        decayed, spared = [p for p in parameters if p.dim() > 1], [p for p in parameters if p.dim() <= 1]
        groups = [{"params": decayed, "weight_decay": 0.05}, {"params": spared, "weight_decay": 0.0}]
        optimizer: torch.optim.Optimizer = torch.optim.AdamW(groups, betas=(0.9, 0.999), eps=1e-8)
    else:
        optimizer = torch.optim.Adam(parameters, betas=(0.9, 0.999), eps=1e-8)
    for step in range(EPOCHS * steps_per_epoch):
        rows = slice(step % steps_per_epoch * BATCH, (step % steps_per_epoch + 1) * BATCH)  # file order
        rate = (features_rate if encoder is None else finetune_rate)(step, steps_per_epoch)
        for group in optimizer.param_groups:
            group["lr"] = rate
        torch.manual_seed(seed_of_step(step))  # of the masks and the dropout
        heard = inputs[rows] if encoder is None else encoder(inputs[rows]).last_hidden_state
        loss = nn.functional.cross_entropy(classifier(heard).logits, labels[rows])
        optimizer.zero_grad()
        loss.backward()
        norm = nn.utils.clip_grad_norm_(parameters, CLIP)
        optimizer.step()
        yield loss.item(), rate, norm.item()
