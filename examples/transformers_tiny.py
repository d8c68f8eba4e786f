"""A tiny GPT-2 learns to count with Hugging Face's Trainer, recorded by one callback.

Needs: torch, transformers, accelerate
"""

import torch
from transformers import GPT2Config, GPT2LMHeadModel, Trainer, TrainingArguments

from epochal.frameworks.transformers import Callback

TOKENS, LENGTH = 20, 12


def counting(count, seed):
    """Rows such as 3 5 7 9 ...: each begins somewhere and goes on by its own stride, modulo the number of tokens."""
    made = torch.Generator().manual_seed(seed)
    start, stride = torch.randint(TOKENS, (count, 1), generator=made), torch.randint(1, 5, (count, 1), generator=made)
    rows = (start + stride * torch.arange(LENGTH)) % TOKENS
    return [{"input_ids": row, "labels": row} for row in rows]


torch.set_num_threads(1)  # so small a network is quickest on one core
torch.manual_seed(0)
config = GPT2Config(
    vocab_size=TOKENS, n_positions=LENGTH, n_embd=32, n_layer=2, n_head=4, bos_token_id=0, eos_token_id=0
)
arguments = TrainingArguments(
    output_dir="counting",
    num_train_epochs=4,
    per_device_train_batch_size=32,
    learning_rate=5e-3,
    logging_steps=5,
    eval_strategy="epoch",
    save_strategy="no",
    report_to="none",
    use_cpu=True,
    disable_tqdm=True,
)
trainer = Trainer(
    GPT2LMHeadModel(config),
    arguments,
    train_dataset=counting(960, seed=0),
    eval_dataset=counting(128, seed=1),
    callbacks=[Callback("counting", name="tiny GPT-2")],
)
trainer.train()
