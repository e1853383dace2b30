"""Which packed forms of an answer a client takes (RFC 9110, section 12.5.3)."""

from __future__ import annotations

__all__ = ["takes_gzip"]


def takes_gzip(accepted: str) -> bool:
    """Whether a header Accept-Encoding lets an answer be packed by gzip."""
    weights: dict[str, float] = {}
    for each in accepted.lower().split(","):
        name, *parameters = (part.strip() for part in each.split(";"))
        weights[name] = min(map(_weight, parameters), default=1.0)
    return weights.get("gzip", weights.get("*", 0.0)) > 0


def _weight(parameter: str) -> float:
    """Of one that cannot be read nothing: the plain form is never wrong."""
    name, _, value = parameter.partition("=")
    try:
        return float(value) if name == "q" else 1.0
    except ValueError:
        return 0.0
