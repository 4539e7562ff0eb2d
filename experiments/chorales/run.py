"""JSB chorales: predict which of 88 keys sound next in 382 chorales by J. S. Bach, by a GRU with a Bernoulli for each key.

The score is the negative log-likelihood in nats a step (a step is all 88 keys) of steps 2 … T given those before, over the test
chorales of the official split. Bai, Kolter & Koltun (2018), table 1: GRU 8.43, LSTM 8.45, RNN 8.91. The epoch is chosen on the validation
chorales alone. The weights that are scored are a running average.

``--data`` names the file: {"train": …, "valid": …, "test": …}, each a list of sequences, each a list of steps, each a list of
active keys 0 … 87. Source of the data: Boulanger-Lewandowski, Bengio & Vincent (2012).
"""

from __future__ import annotations

import copy
import json
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from experiments import common

KEYS = 88


@dataclass(frozen=True)
class Settings:
    """How the network is trained. What else was tried stands in `expected.json`.

    Attributes:
        shift: training chorales are transposed by up to so many semitones.
        memory: of the running average of the weights, which is what is scored: weight of the past at each update.
        minutes: no epoch begins after so many.
    """

    hidden: int = 200
    dropout: float = 0.5
    shift: int = 0
    batch: int = 8
    epochs: int = 30
    lr: float = 6e-3
    weight_decay: float = 1e-4
    memory: float = 0.99
    minutes: float = 9.0


class Chorales(nn.Module):
    """88 keys -> GRU -> 88 logits, with dropout of the GRU's output."""

    def __init__(self, hidden: int, library: str, dropout: float) -> None:
        super().__init__()
        self.layer = common.recurrent("gru", KEYS, hidden, library)
        self.drop, self.read = nn.Dropout(dropout), nn.Linear(hidden, KEYS)

    def forward(self, x: Tensor) -> Tensor:
        return self.read(self.drop(self.layer(x)[0]))


def rolls(songs: list[list[list[int]]]) -> list[Tensor]:
    """Each song as (T, 88) of 0 and 1."""
    found = []
    for song in songs:
        roll = torch.zeros(len(song), KEYS)
        for t, keys in enumerate(song):
            roll[t, keys] = 1.0
        found.append(roll)
    return found


def start_at_shares(model: Chorales, songs: list[Tensor]) -> None:
    """Let the network begin by saying of each key how often it sounds."""
    shares = torch.cat(songs).mean(0).clamp(1e-4, 1 - 1e-4)
    with torch.no_grad():
        model.read.bias.copy_(torch.logit(shares))


def transposed(song: Tensor, shift: int, made: torch.Generator) -> Tensor:
    """A song up or down by at most `shift` semitones, as far as all its keys stay on the keyboard."""
    played = song.any(0).nonzero()
    low, high = max(-shift, -int(played.min())), min(shift, KEYS - 1 - int(played.max()))
    return song.roll(int(torch.randint(low, high + 1, (1,), generator=made)), dims=1)


def nats(model: nn.Module, songs: list[Tensor]) -> tuple[Tensor, int]:
    """Σ −log p over the steps 2 … T of songs side by side, and the number of those steps."""
    padded = nn.utils.rnn.pad_sequence(songs, batch_first=True)
    lengths = torch.tensor([len(song) - 1 for song in songs])
    seen = torch.arange(padded.shape[1] - 1)[None] < lengths[:, None]
    each = nn.functional.binary_cross_entropy_with_logits(model(padded[:, :-1]), padded[:, 1:], reduction="none").sum(2)
    return each[seen].sum(), int(lengths.sum())


@torch.no_grad()
def score(model: nn.Module, songs: list[Tensor]) -> float:
    """Nats a step over all songs."""
    model.eval()
    total, steps = nats(model, songs)
    model.train()
    return float(total) / steps


def run(
    data: str, quick: bool = False, library: str = "torch", seed: int = 0, settings: Settings | None = None
) -> dict[str, Any]:
    own = settings or Settings()
    if quick:
        own = replace(own, hidden=32, epochs=2)
    parts = {name: rolls(songs) for name, songs in json.loads(Path(data).read_text()).items()}
    torch.manual_seed(seed)
    made, begun = torch.Generator().manual_seed(seed), time.perf_counter()
    model = Chorales(own.hidden, library, own.dropout)
    start_at_shares(model, parts["train"])
    averaged = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(own.memory))
    optimiser = torch.optim.AdamW(model.parameters(), lr=own.lr, weight_decay=own.weight_decay)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, own.epochs, own.lr / 30)
    trace, kept = [], {}
    while len(trace) < own.epochs and time.perf_counter() - begun < 60 * own.minutes:
        for rows in torch.randperm(len(parts["train"]), generator=made).split(own.batch):
            total, steps = nats(model, [transposed(parts["train"][i], own.shift, made) for i in rows.tolist()])
            optimiser.zero_grad()
            (total / steps).backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimiser.step()
            averaged.update_parameters(model)
        schedule.step()
        trace.append(score(averaged, parts["valid"]))
        if trace[-1] == min(trace):
            kept = copy.deepcopy(averaged.state_dict())
    averaged.load_state_dict(kept)
    return {
        "validation nats": round(min(trace), 4),
        "test nats": round(score(averaged, parts["test"]), 4),
        "best epoch": 1 + trace.index(min(trace)),
        "epochs": len(trace),
    }


if __name__ == "__main__":
    fields = {name: {"type": type(value), "default": value} for name, value in vars(Settings()).items()}
    given = common.arguments(__doc__, data={"required": True, "help": "the file of the chorales"}, **fields)
    own = Settings(**{name: getattr(given, name) for name in fields})
    common.report(__file__, lambda: run(given.data, given.quick, given.library, given.seed, own), given.quick)
