"""The sentence encoder of tickets in NumPy, for a night with few new texts: to import PyTorch and what
stands on it takes a process 6 s, more than a hundred texts do here.

Its vectors are those of sentence-transformers, from the same files, within 1e-5. Method: BERT (Devlin et al.
2019) as all-MiniLM-L6-v2 has it: six layers of 12 heads, GELU, the mean of the tokens.
"""

import json
from pathlib import Path

import numpy as np
from scipy.special import erf

AT_ONCE = 16  # texts, sorted by length, so that little is padded


class SentenceEncoder:
    """The encoder of the files in `folder`; a text is cut after `max_tokens` tokens."""

    def __init__(self, folder, max_tokens):
        from safetensors.numpy import load_file
        from tokenizers import Tokenizer

        config = json.loads((Path(folder) / "config.json").read_text(encoding="utf-8"))
        self.heads, self.layers = config["num_attention_heads"], config["num_hidden_layers"]
        self.epsilon = config["layer_norm_eps"]
        self.weights = load_file(Path(folder) / "model.safetensors")
        self.tokenizer = Tokenizer.from_file(str(Path(folder) / "tokenizer.json"))
        self.tokenizer.enable_truncation(max_tokens)
        self.tokenizer.enable_padding()

    def encode(self, texts, **how):
        """What `texts` say: float32 (n, d), length one. how : what sentence-transformers is told besides."""
        order, found = sorted(range(len(texts)), key=lambda i: len(texts[i])), {}
        for first in range(0, len(texts), AT_ONCE):
            part = order[first : first + AT_ONCE]
            encoded = self.tokenizer.encode_batch([texts[i] for i in part])
            tokens = np.array([one.ids for one in encoded])
            there = np.array([one.attention_mask for one in encoded], "float32")
            found |= zip(part, self.vectors(tokens, there), strict=True)
        return np.array([found[i] for i in range(len(texts))], "float32")

    def vectors(self, tokens, there):
        """Vectors, float32 (n, d), of tokens, int (n, t); there : 1 for a token, 0 for padding."""
        embedded = [self.weights[f"embeddings.{what}_embeddings.weight"] for what in ("word", "position")]
        x = embedded[0][tokens] + embedded[1][: tokens.shape[1]]
        x = self.normalised(x + self.weights["embeddings.token_type_embeddings.weight"][0], "embeddings")
        for layer in range(self.layers):
            x = self.transformed(x, there, f"encoder.layer.{layer}")
        mean = (x * there[..., None]).sum(axis=1) / there.sum(axis=1, keepdims=True)
        return mean / np.linalg.norm(mean, axis=1, keepdims=True)

    def transformed(self, x, there, layer):
        """One layer of attention and two products: (n, t, d) to (n, t, d)."""
        query, key, value = (
            self.split(self.product(x, f"{layer}.attention.self.{what}"))
            for what in ("query", "key", "value")
        )
        near = query @ key.swapaxes(-1, -2) / np.sqrt(np.float32(query.shape[-1]))  # (n, heads, t, t)
        near = np.exp(near - near.max(axis=-1, keepdims=True)) * there[:, None, None, :]
        seen = (near / near.sum(axis=-1, keepdims=True)) @ value
        seen = seen.swapaxes(1, 2).reshape(x.shape)
        x = self.normalised(
            x + self.product(seen, f"{layer}.attention.output.dense"), f"{layer}.attention.output"
        )
        wide = self.product(x, f"{layer}.intermediate.dense")
        wide = wide * (1 + erf(wide / np.sqrt(np.float32(2)))) / 2
        return self.normalised(x + self.product(wide, f"{layer}.output.dense"), f"{layer}.output")

    def split(self, x):
        """(n, t, d) to (n, heads, t, d / heads)."""
        return x.reshape(*x.shape[:2], self.heads, -1).swapaxes(1, 2)

    def product(self, x, name):
        """The dense layer of that name."""
        return x @ self.weights[f"{name}.weight"].T + self.weights[f"{name}.bias"]

    def normalised(self, x, name):
        """The layer normalisation of that name."""
        x = x - x.mean(axis=-1, keepdims=True)
        x = x / np.sqrt((x * x).mean(axis=-1, keepdims=True) + np.float32(self.epsilon))
        return x * self.weights[f"{name}.LayerNorm.weight"] + self.weights[f"{name}.LayerNorm.bias"]
