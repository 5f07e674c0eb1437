"""Kubernetes quantities: ``500m``, ``64Mi``, ``1.5G``."""

from __future__ import annotations

import re
from decimal import Decimal

from asupervisor.errors import ConfigError

_QUANTITY = re.compile(r"(\d+(?:\.\d*)?|\.\d+)(m|k|M|G|T|P|Ki|Mi|Gi|Ti|Pi)?")
_FACTORS = {
    "m": Decimal("0.001"),
    "k": Decimal(10**3),
    "M": Decimal(10**6),
    "G": Decimal(10**9),
    "T": Decimal(10**12),
    "P": Decimal(10**15),
    "Ki": Decimal(2**10),
    "Mi": Decimal(2**20),
    "Gi": Decimal(2**30),
    "Ti": Decimal(2**40),
    "Pi": Decimal(2**50),
}


def parse_quantity(text: str, where: str) -> Decimal:
    """Read a quantity.

    Args:
        text: a number and a decimal or binary suffix.
        where: the field, for the error.

    Raises:
        ConfigError: it is malformed.
    """
    found = _QUANTITY.fullmatch(text)
    if found is None:
        raise ConfigError(f'{where}: "{text}" is not a quantity; write it like 500m, 2, 64Mi or 1G')
    return Decimal(found.group(1)) * _FACTORS.get(found.group(2) or "", Decimal(1))
