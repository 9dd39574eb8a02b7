"""Your own loop: fine-tune the last block of a small language model with `zoptim.Optimizer`.

    python examples/own_loop.py

No gradient anywhere.  The closure takes the view, so both points of a step go through the model together;
without the argument it would be called once a point.  The checkpoint is a few kilobytes: the steps, not
the weights.
"""

import torch
from torch.nn.functional import cross_entropy

import zoptim
from zoptim.lm import models

TEXTS = [
    "a film of rare warmth and wit",
    "flat , tired and far too long",
    "a joy from start to end",
    "a mess",
]
LABELS = torch.tensor([1, 0, 1, 0])
STEPS = 20

loaded = models.load("packaged:smollm2-135m")
model, tokenizer = loaded.model, loaded.tokenizer
tokenizer.padding_side = "left"  # so that every row's last position is read
batch = tokenizer([f"{text} It was" for text in TEXTS], return_tensors="pt", padding=True)
words = [tokenizer(w, add_special_tokens=False)["input_ids"][0] for w in (" terrible", " great")]

optimizer = zoptim.Optimizer(
    model, zoptim.mezo(lr=1e-4, eps=1e-3, n=2, law="signs"), params="model.layers.29.*", seed=0
)
scheduler = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.1, total_iters=STEPS)


def closure(view):
    mask = view.expand(batch["attention_mask"])
    logits = model(
        input_ids=view.expand(batch["input_ids"]),
        attention_mask=mask,
        position_ids=(mask.cumsum(-1) - 1).clamp(min=0),
        logits_to_keep=1,
    ).logits[:, -1, words]
    return view.split(cross_entropy(logits, view.expand(LABELS), reduction="none"))  # (m, items)


for step in range(STEPS):
    loss = optimizer.step(closure)
    scheduler.step()
    print(f"step {step + 1:2}  loss {loss.item():.4f}  lr {optimizer.param_groups[0]['lr']:.1e}")

state = optimizer.state_dict()
print(f"{optimizer}; the checkpoint holds {len(state['journal']):,} bytes of steps")
