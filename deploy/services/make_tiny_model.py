"""Make a tiny chat model with random weights, for protocol tests: `python make_tiny_model.py FOLDER`.

Run by vLLM's own environment, not by the project's. Nothing is downloaded; the tokenizer learns from the
reference that comes with Python. Its words mean nothing: it serves to test streaming, cancelling, failover, the
prefix cache and metrics, never quality. How it behaves:
- The same input gives the same weights, so two replicas answer alike at temperature 0.
- At temperature 0 it writes plain ASCII and never ends by itself: an answer has exactly `max_tokens` tokens.
- At temperature 1 (the default) it ends by itself after some 250 tokens on average.
"""

from __future__ import annotations

import sys
from pathlib import Path
from pydoc_data.topics import topics

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

VOCABULARY = 2048
STOPS = 8
CONTEXT = 4096
TEMPLATE = (
    "{% for m in messages %}{{ '<s>' + m['role'] + '\n' + m['content'] + '</s>' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<s>assistant\n' }}{% endif %}"
)


def make_tokenizer(texts: list[str]) -> PreTrainedTokenizerFast:
    """A byte-level BPE tokenizer trained on the texts."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=["<s>", "</s>", "<pad>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token="<s>",  # noqa: S106 - no password
        eos_token="</s>",  # noqa: S106
        pad_token="<pad>",  # noqa: S106
        chat_template=TEMPLATE,
        model_max_length=CONTEXT,
    )


def make_model(tokenizer: PreTrainedTokenizerFast) -> LlamaForCausalLM:
    """Two layers of width 128; vLLM's CPU attention wants a head size of at least 32, 64 is taken."""
    torch.manual_seed(20261124)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=128,
        intermediate_size=256,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        head_dim=64,
        max_position_embeddings=CONTEXT,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        tie_word_embeddings=False,
    )
    model = LlamaForCausalLM(config).to(torch.bfloat16)
    silent, stops = choose_silent(tokenizer)
    with torch.no_grad():
        # A zero row scores 0; the best of 2,048 random rows scores well above, so greedy choice never takes it.
        model.lm_head.weight[silent] = 0
    model.generation_config.eos_token_id = stops
    return model


def choose_silent(tokenizer: PreTrainedTokenizerFast) -> tuple[list[int], list[int]]:
    """The tokens that greedy choice shall never take, and those among them that end an answer."""
    texts = [tokenizer.decode([token]) for token in range(len(tokenizer))]
    silent = [token for token, text in enumerate(texts) if not text.isascii() or not text.isprintable()]
    words = [token for token, text in enumerate(texts) if token not in set(silent) and len(text) > 3]
    stops = [tokenizer.eos_token_id, *words[-(STOPS - 1) :]]
    special = [tokenizer.bos_token_id, tokenizer.eos_token_id, tokenizer.pad_token_id]
    return sorted({*silent, *stops, *special}), stops


def main() -> None:
    """Write tokenizer and weights into the folder named first."""
    folder = Path(sys.argv[1])
    tokenizer = make_tokenizer([text for _, text in sorted(topics.items())])
    make_model(tokenizer).save_pretrained(folder)
    tokenizer.save_pretrained(folder)


if __name__ == "__main__":
    main()
