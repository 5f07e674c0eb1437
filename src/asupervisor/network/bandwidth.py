"""A pod's bandwidth limits, from its annotations."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction

from asupervisor.errors import InvalidArgument

INGRESS = "kubernetes.io/ingress-bandwidth"
EGRESS = "kubernetes.io/egress-bandwidth"

_MINIMUM_BITS_PER_S, _MAXIMUM_BITS_PER_S = 10**3, 10**15
_QUANTITY = re.compile(
    r"\+?(\d+(?:\.\d*)?|\.\d+)(?:([eE][+-]?\d{1,2})|([numkMGTPE]|[KMGTPE]i)?)", re.ASCII
)
_LONGEST = 64
"""Characters: an annotation may have 256 KiB, and Python refuses to convert that many digits."""
_FACTOR = {
    **{unit: Fraction(1000) ** power for power, unit in enumerate("num", -3)},
    "": Fraction(1),
    **{unit: Fraction(1000) ** power for power, unit in enumerate("kMGTPE", 1)},
    **{f"{unit}i": Fraction(1024) ** power for power, unit in enumerate("KMGTPE", 1)},
}


@dataclass(frozen=True, slots=True)
class Bandwidth:
    """Limits in bits per second, seen from the pod; 0 means no limit.

    Args:
        ingress: of what the pod receives.
        egress: of what the pod sends.
    """

    ingress: int = 0
    egress: int = 0

    def __bool__(self) -> bool:
        return bool(self.ingress or self.egress)


def pod_bandwidth(annotations: Mapping[str, str]) -> Bandwidth:
    """Read ``kubernetes.io/ingress-bandwidth`` and ``kubernetes.io/egress-bandwidth``: Kubernetes
    quantities from 1k to 1P.

    Args:
        annotations: the pod's.

    Raises:
        InvalidArgument: a value is not a quantity, or out of range; the message names it.
    """
    return Bandwidth(_limit(annotations, INGRESS), _limit(annotations, EGRESS))


def _limit(annotations: Mapping[str, str], key: str) -> int:
    text = annotations.get(key)
    if text is None:
        return 0
    text = text.strip()
    match = _QUANTITY.fullmatch(text) if len(text) <= _LONGEST else None
    if match is None:
        raise InvalidArgument(
            f'annotation {key}: "{text[:_LONGEST]}" is not a quantity such as "10M"'
        )
    number, exponent, unit = match.groups()
    value = Fraction(number + (exponent or "")) * _FACTOR[unit or ""]
    bits_per_s = -(-value.numerator // value.denominator)
    if not _MINIMUM_BITS_PER_S <= bits_per_s <= _MAXIMUM_BITS_PER_S:
        raise InvalidArgument(
            f'annotation {key}: "{text}" is not between 1k and 1P bits per second'
        )
    return bits_per_s
