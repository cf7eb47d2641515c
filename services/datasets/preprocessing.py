"""What a job asks of its data: which rows go where, and how columns become what the model sees."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from services.datasets.limits import MAX_COLUMNS, MAX_NAME_CHARACTERS
from services.datasets.transform_schema import Transforms
from services.training.model import MAX_SEED, Section, problem

ColumnName = Annotated[str, Field(min_length=1, max_length=MAX_NAME_CHARACTERS)]
Normalization = Literal["standardize", "min_max"]
Missing = Literal["fail", "drop", "mean", "median"] | Annotated[float, Field(ge=-1e30, le=1e30)]
_MISSING = "What stands for a missing number; by default training is refused. `drop` leaves the row out."


class Shares(Section):
    """How many of the rows train, validate and test. What the three leave over is not used."""

    train: Annotated[float, Field(gt=0, le=1)] | None = Field(None, description="By default: all the rest.")
    validation: Annotated[float, Field(ge=0, lt=1)] = 0.0
    test: Annotated[float, Field(ge=0, lt=1)] = 0.0
    seed: Annotated[int, Field(ge=0, le=MAX_SEED)] = Field(0, description="Shuffles the rows before they are cut.")

    @model_validator(mode="after")
    def _at_most_all(self) -> Self:
        total = (self.train or 0.0) + self.validation + self.test
        if total > 1 + 1e-9 or (self.train is None and total >= 1):
            detail = f"train, validation and test must add up to at most 1; here it is {total:g}, and train needs some."
            raise problem("out_of_range", detail, hint='For example {"train": 0.8, "validation": 0.1, "test": 0.1}.')
        return self


class Split(Shares):
    """Which rows train, validate and test: drawn by chance, or as a column says."""

    stratify: bool | ColumnName = Field(
        False, description="Give each part the same shares of classes: of the target (`true`) or of a column."
    )
    by_group: ColumnName | None = Field(None, description="Rows with the same value here stay together in one part.")
    by_time: ColumnName | None = Field(None, description="Train on the earliest rows of this column, test on the last.")
    column: ColumnName | None = Field(
        None, description='A column that says "train", "validation" or "test" for each row.'
    )

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        ways = [name for name in ("stratify", "by_group", "by_time", "column") if getattr(self, name)]
        if len(ways) > 1:
            raise problem("conflict", f"`{ways[0]}` and `{ways[1]}` exclude each other.", pointer=f"/{ways[1]}")
        shares = {"train", "validation", "test"} & self.model_fields_set
        if self.column is not None and shares:
            detail = "The column says which row goes where, so there are no shares."
            raise problem("conflict", detail, pointer=f"/{min(shares)}")
        return self


class Source(Section):
    """One column of a feature, where it differs from the feature's own settings."""

    column: ColumnName
    normalize: Normalization | None = None
    missing: Missing | None = Field(None, description=_MISSING)
    encode: Literal["one_hot", "label"] | None = Field(None, description="How a category becomes numbers.")


class ImageTransforms(Section):
    """What happens to images, in this order; ``flip``, ``crop`` and random ``transforms`` to training rows only."""

    resize: Annotated[list[Annotated[int, Field(ge=1, le=4096)]], Field(min_length=2, max_length=2)] | None = Field(
        None, description="[height, width]."
    )
    flip: Annotated[float, Field(ge=0, le=1)] = Field(0.0, description="Mirror left and right with this probability.")
    crop: Annotated[int, Field(ge=0, le=1024)] = Field(
        0, description="Pad by so many pixels of zero, then cut the size out at a random place."
    )
    transforms: Transforms = Field(
        default_factory=list, description="Classes of kornia.augmentation, on floats from 0 to 1, before `normalize`."
    )


class Tokenizer(Section):
    """Parts of words, found by count in the texts of the training rows, as Hugging Face's ``tokenizers`` do it."""

    type: Literal["BPE", "WordPiece"] = Field(
        description="BPE joins bytes and knows every text; WordPiece joins letters within words, as BERT's does."
    )
    vocabulary_size: Annotated[int, Field(ge=300, le=32_768)] = Field(
        8000, description="At most so many tokens; 0 fills up, 1 is unknown."
    )
    min_frequency: Annotated[int, Field(ge=1, le=1 << 20)] = Field(2, description="Of a pair that becomes a token.")
    lowercase: bool = False


class TextTokens(Section):
    """A text becomes ``length`` numbers: its characters, bytes or tokens, then zeros; what is longer is cut."""

    length: Annotated[int, Field(ge=1, le=65_536)]
    unit: Literal["character", "byte"] = Field(
        "character", description="Characters are numbered by the column's vocabulary from 1; bytes are 1 to 256."
    )
    tokenizer: Tokenizer | None = Field(None, description="Tokens in place of characters or bytes.")

    @model_validator(mode="after")
    def _one_kind(self) -> Self:
        if self.tokenizer is not None and "unit" in self.model_fields_set:
            raise problem("conflict", "`unit` and `tokenizer` exclude each other.", pointer="/unit")
        return self


class Feature(Section):
    """A tensor made of columns, under a name that `inputs`, `target` and the model may use.

    Several columns are put side by side into one row of float32: categories one-hot, numbers as they are or normalized
    by what the training rows alone say.
    """

    columns: Literal["*"] | Annotated[list[ColumnName | Source], Field(min_length=1, max_length=MAX_COLUMNS)] = Field(
        description='Columns by name, or `"*"`: all numbers and categories but the target.'
    )
    dtype: Literal["float32", "int64"] = "float32"
    normalize: Normalization | None = Field(None, description="Of the numbers; fitted on the training rows.")
    missing: Missing = Field("fail", description=_MISSING)
    encode: Literal["one_hot", "label"] | None = Field(
        None, description="By default one-hot, and class numbers where the dtype is int64."
    )
    image: ImageTransforms | None = None
    text: TextTokens | None = None


class Window(Section):
    """Runs of rows, in their order, for sequences: the inputs see ``length`` rows, the target is ``shift`` rows on.

    Each part of the split is a run of rows of its own, so that no window reaches from one part into another.
    """

    length: Annotated[int, Field(ge=1, le=65_536)]
    stride: Annotated[int, Field(ge=1, le=1 << 20)] = Field(1, description="Rows from one window to the next.")
    shift: Annotated[int, Field(ge=0, le=65_536)] = Field(1, description="How far ahead the target is.")
    target: Literal["sequence", "last"] = Field(
        "sequence", description="The target of every row of the window, or of its last row alone."
    )


Features = Annotated[dict[ColumnName, Feature], Field(max_length=64)]
