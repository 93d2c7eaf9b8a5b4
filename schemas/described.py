"""Enumerations with a description of each member, from which documentation is generated."""

from enum import StrEnum
from typing import Self


class Described(StrEnum):
    """Members are written as `NAME = "value", "meaning"`. Records, rows and logs contain the value only."""

    meaning: str

    def __new__(cls, value: str, meaning: str) -> Self:
        member = str.__new__(cls, value)
        member._value_ = value
        member.meaning = meaning
        return member
