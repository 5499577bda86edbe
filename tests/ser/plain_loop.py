"""The training of the ShiftSER paper as a plain PyTorch loop, without Trainer, settings or cache.

It uses nothing from this package: the models are plain torch modules, and the encoder is a model of transformers.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from torch import Tensor, nn
from transformers import AutoModel

from .published_models import PublishedModel

EPOCHS, BATCH, BASE_RATE, CLIP = 100, 32, 5e-4, 5.0


def features_rate(step: int, epochs: int, steps_per_epoch: int, base_rate: float) -> float:
    t, total, warmup = max(step - 1, 0), epochs * steps_per_epoch, 5 * steps_per_epoch
    if t < warmup:
        return 5e-7 + t * (base_rate - 5e-7) / warmup
    return 5e-6 + 0.5 * (base_rate - 5e-6) * (1 + math.cos(math.pi * t / total))


def finetune_rate(step: int, epochs: int, steps_per_epoch: int, base_rate: float) -> float:
    epoch, total, warmup = step // steps_per_epoch, epochs * steps_per_epoch, 5 * steps_per_epoch
    if epoch < warmup:
        return base_rate * epoch / warmup
    if epoch < 2 * warmup:
        return base_rate
    return base_rate * (total - epoch) / (total - 2 * warmup)


def plain_loop(
    inputs: Tensor,
    labels: Tensor,
    classifier: PublishedModel,
    backbone: Path | None,
    seed_of_step: Callable[[int], int],
) -> Iterator[tuple[float, float, float]]:
    """Loss, learning rate and gradient norm of each step; ``inputs`` are frames, or clips if an encoder is trained."""
    encoder = None if backbone is None else AutoModel.from_pretrained(backbone).train()
    if encoder is not None:
        encoder.config.apply_spec_augment = False
        encoder.feature_extractor.requires_grad_(False)
    classifier.train()
    parameters = [p for module in (encoder, classifier) if module for p in module.parameters() if p.requires_grad]
    steps_per_epoch = math.ceil(len(inputs) / BATCH)
    if encoder is None:
        decayed, spared = [p for p in parameters if p.dim() > 1], [p for p in parameters if p.dim() <= 1]
        groups = [{"params": decayed, "weight_decay": 0.05}, {"params": spared, "weight_decay": 0.0}]
        optimizer: torch.optim.Optimizer = torch.optim.AdamW(groups, betas=(0.9, 0.999), eps=1e-8)
    else:
        optimizer = torch.optim.Adam(parameters, betas=(0.9, 0.999), eps=1e-8)
    for step in range(EPOCHS * steps_per_epoch):
        rows = slice(step % steps_per_epoch * BATCH, (step % steps_per_epoch + 1) * BATCH)  # batches in file order
        rate = (features_rate if encoder is None else finetune_rate)(step, EPOCHS, steps_per_epoch, BASE_RATE)
        for group in optimizer.param_groups:
            group["lr"] = rate
        torch.manual_seed(seed_of_step(step))  # masks and dropout draw from this seed
        frames = inputs[rows] if encoder is None else encoder(inputs[rows]).last_hidden_state
        loss = nn.functional.cross_entropy(classifier(frames), labels[rows])
        optimizer.zero_grad()
        loss.backward()
        norm = nn.utils.clip_grad_norm_(parameters, CLIP)
        optimizer.step()
        yield loss.item(), rate, norm.item()
