"""Memory of weights and their training, computed from the published shapes of models."""

from dataclasses import dataclass

_FULL_BYTES = 4  # a number of float32
_GB = 1e9


@dataclass(frozen=True, slots=True)
class Shape:
    """A decoder like Llama's, as its published configuration has it.

    Attributes:
        name: Name on the Hub.
        num_layers: Number of decoder blocks.
        hidden: Channels between blocks.
        inner: Channels inside a block's gated network.
        heads: Number of query heads.
        key_heads: Number of key and value heads.
        head_size: Channels of a head.
        vocabulary: Rows of the embedding.
        tied: Whether the output head is the embedding.
        biases: Whether queries, keys and values have biases, as in Qwen2.
        head_norms: Whether queries and keys are normalised by head, as in Qwen3.
    """

    name: str
    num_layers: int
    hidden: int
    inner: int
    heads: int
    key_heads: int
    head_size: int
    vocabulary: int
    tied: bool
    biases: bool = False
    head_norms: bool = False

    @property
    def layer_parameters(self) -> int:
        """Parameters of one decoder block."""
        queries, keys = self.heads * self.head_size, self.key_heads * self.head_size
        attention = 2 * self.hidden * (queries + keys)
        biases = queries + 2 * keys if self.biases else 0
        norms = 2 * self.hidden + (2 * self.head_size if self.head_norms else 0)
        return attention + biases + 3 * self.hidden * self.inner + norms

    @property
    def parameters(self) -> int:
        """Parameters of the model; a tied matrix counts once."""
        embedding = self.vocabulary * self.hidden
        head = 0 if self.tied else embedding
        return embedding + head + self.num_layers * self.layer_parameters + self.hidden


@dataclass(frozen=True, slots=True)
class Footprint:
    """Peak bytes on the device, without activations and key-value caches.

    Attributes:
        weights: Weights of the whole model.
        gradients: Gradients of the trained parameters; at a lower precision their float32 sums
            and those of one micro-batch in that precision.
        masters: float32 copies of trained parameters of a lower precision.
        adam: AdamW's two averages of the trained parameters, in float32.
    """

    weights: int
    gradients: int
    masters: int
    adam: int

    @property
    def training(self) -> int:
        """Bytes that training adds to the weights."""
        return self.gradients + self.masters + self.adam

    @property
    def total(self) -> int:
        """Bytes of the weights and their training."""
        return self.weights + self.training


SHAPES = (
    Shape("Qwen/Qwen2.5-0.5B-Instruct", 24, 896, 4864, 14, 2, 64, 151936, True, biases=True),
    Shape("Qwen/Qwen2.5-1.5B-Instruct", 28, 1536, 8960, 12, 2, 128, 151936, True, biases=True),
    Shape("Qwen/Qwen2.5-3B-Instruct", 36, 2048, 11008, 16, 2, 128, 151936, True, biases=True),
    Shape("Qwen/Qwen2.5-7B-Instruct", 28, 3584, 18944, 28, 4, 128, 152064, False, biases=True),
    Shape("Qwen/Qwen3-0.6B", 28, 1024, 3072, 16, 8, 128, 151936, True, head_norms=True),
    Shape("Qwen/Qwen3-1.7B", 28, 2048, 6144, 16, 8, 128, 151936, True, head_norms=True),
    Shape("Qwen/Qwen3-4B", 36, 2560, 9728, 32, 8, 128, 151936, True, head_norms=True),
    Shape("Qwen/Qwen3-8B", 36, 4096, 12288, 32, 8, 128, 151936, False, head_norms=True),
)
"""The families of the layer contribution paper (arXiv 2607.01232)."""


def footprint(*, parameters: int, learned: int, weight_bytes: int = 2) -> Footprint:
    """Compute the memory of a model and its training on the device.

    >>> footprint(parameters=100, learned=10).training
    180
    >>> footprint(parameters=100, learned=10, weight_bytes=4).training
    120

    Args:
        parameters: Of the model.
        learned: Of the selection.
        weight_bytes: Of one weight: 2 for bfloat16, 4 for float32.
    """
    coarse = weight_bytes < _FULL_BYTES
    return Footprint(
        weights=parameters * weight_bytes,
        gradients=learned * (_FULL_BYTES + (weight_bytes if coarse else 0)),
        masters=learned * _FULL_BYTES if coarse else 0,
        adam=2 * learned * _FULL_BYTES,
    )


def memory_table(shapes: tuple[Shape, ...] = SHAPES) -> str:
    """Write a table of GitHub's markdown: bfloat16, all parameters against one layer, in GB."""
    rows = [
        "| model | layers | parameters | one layer | weights | full: training | total "
        "| one layer: training | total |",
        "| --- |" + " ---: |" * 8,
    ]
    for shape in shapes:
        full = footprint(parameters=shape.parameters, learned=shape.parameters)
        one = footprint(parameters=shape.parameters, learned=shape.layer_parameters)
        amounts = (full.weights, full.training, full.total, one.training, one.total)
        cells = [
            shape.name.removeprefix("Qwen/"),
            str(shape.num_layers),
            f"{shape.parameters:,}",
            f"{shape.layer_parameters:,}",
            *(f"{amount / _GB:.1f}" for amount in amounts),
        ]
        rows.append(f"| {' | '.join(cells)} |")
    return "\n".join(rows)
