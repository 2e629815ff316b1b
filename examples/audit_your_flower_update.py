"""What does one Flower update of your torch model give away? Runs in about a minute.

Usage: python examples/audit_your_flower_update.py [PICTURE]
Put in your own model, loss and training; `sent` and `reply` are the two ArrayRecords of a round, as a
strategy's `configure_train` sends and `aggregate_train` gets them. Writes audit.png.
"""

import sys

import numpy as np
import torch
from flwr.app import ArrayRecord
from PIL import Image
from torch import nn

from attacks.baselines import all_blind
from attacks.evaluation import reconstruction
from attacks.inversion.race import strong_inversion
from attacks.observation import LocalTraining, Observation, cross_entropy, difference
from attacks.preflight import replay
from attacks.results import Budget, Truth
from attacks.sheet import contact_sheet

SIDE, CLASSES = 32, 10
torch.manual_seed(0)
trunk = [nn.Conv2d(3, 24, 5, 2, 2), nn.GELU(), nn.Conv2d(24, 24, 5, 2, 2), nn.GELU(), nn.Flatten()]
model = nn.Sequential(*trunk, nn.Linear(24 * (SIDE // 4) ** 2, CLASSES))
waves = np.add.outer(np.sin(np.arange(SIDE) / 3), np.cos(np.arange(SIDE) / 5)) * 60 + 128
drawn = Image.fromarray(np.stack([waves, waves.T, 255 - waves], axis=2).astype(np.uint8))
image = Image.open(sys.argv[1]).convert("RGB").resize((SIDE, SIDE)) if sys.argv[1:] else drawn
picture = torch.from_numpy(np.array(image)).permute(2, 0, 1)[None] / 255

# A client's round. Of your own, keep the two records and describe the training as it really was.
sent = ArrayRecord(model.state_dict())
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
target = torch.tensor([3])
cross_entropy(model(picture), target).mean().backward()
optimizer.step()
reply = ArrayRecord(model.state_dict())

# What the platform has: no picture, no label.
before, after = sent.to_torch_state_dict(), reply.to_torch_state_dict()
training = LocalTraining(learning_rate=0.1, steps=1, batch_size=1)
shape = tuple(picture.shape[1:])
seen = Observation(model, before, shape, (difference(before, after),), training, cross_entropy)

# The auditor's own check, with the truth: if this fails, no attack's failure means anything.
print(replay(seen, picture, target))
attack, budget = strong_inversion(public=False), Budget(steps=400, restarts=2, seconds=60)
found, blind = attack.run(seen, budget, seed=0), all_blind(attack, seen, budget, seed=0)
result = reconstruction(found, Truth(picture), blind)
print(f"attack: {result.value:.1f} dB, SSIM {result.details['SSIM']:.2f}; {'; '.join(found.notes)}")
print(f"best without looking: {result.baseline:.1f} dB; {result.method}")
columns = {attack.name: found.pictures, **blind}
contact_sheet(picture, columns, f"{attack.name}, one picture, one step, seed 0").save("audit.png")
