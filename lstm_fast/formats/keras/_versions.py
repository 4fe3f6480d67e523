"""What Keras computes by default, and which version of it wrote a file."""

from __future__ import annotations

import re
from dataclasses import dataclass

UNTOLD = (
    "its recurrent_activation must be given, 'sigmoid' or 'hard_sigmoid' (as an option of load and "
    "read, or --option recurrent_activation=sigmoid of lstm-fast): the file does not hold it, and "
    "{}. Look at the program that made it, or at get_config() of the layer"
)


@dataclass(frozen=True)
class Version:
    """A version of Keras.

    text: as the file says it, such as "2.2.4-tf"; None where it does not.
    has_groups: whether weights stand in groups by classes, as since Keras 2.12.
    """

    text: str | None
    has_groups: bool = False

    @property
    def numbers(self) -> tuple[int, int] | None:
        """Its first two numbers; None where it is unknown."""
        match = re.match(r"([0-9]{1,4})\.([0-9]{1,4})", self.text or "")
        return None if match is None else (int(match[1]), int(match[2]))

    @property
    def major(self) -> int | None:
        """Its first number; None where it is unknown."""
        return None if self.numbers is None else self.numbers[0]

    def recurrent_activation(self) -> str:
        """Return what the gates of an LSTM compute unless it was told otherwise.

        Keras 2.3 went from hard_sigmoid to sigmoid. TensorFlow's own Keras did so with TensorFlow
        2.0, but 1.13 to 2.1 all call it 2.2.4-tf. (What `tf.compat.v1` has in it stays
        hard_sigmoid, which no file of weights tells.)

        Raises:
            ValueError: versions of this name differ, or there is none.
        """
        if self.numbers is None:
            if self.has_groups:
                return "sigmoid"
            raise ValueError(UNTOLD.format("it does not say which Keras wrote it"))
        if self.numbers == (2, 2) and "-tf" in (self.text or ""):
            raise ValueError(
                UNTOLD.format(
                    f"{self} is in TensorFlow 1.13 to 1.15, where it is hard_sigmoid "
                    "unless told otherwise, and in TensorFlow 2.0 and 2.1, where it is sigmoid"
                )
            )
        return "hard_sigmoid" if self.numbers < (2, 3) else "sigmoid"

    def __str__(self) -> str:
        if self.text is not None:
            return f"Keras {self.text[:40]}"
        return "Keras 2.12 and later" if self.has_groups else "an unknown Keras"
