"""Enumerations whose members say what they mean, for documentation that is made from the code."""

from enum import StrEnum
from typing import Self


class Described(StrEnum):
    """Members are written as `NAME = "value", "meaning"`; the value is all that stands in records, rows and logs."""

    meaning: str

    def __new__(cls, value: str, meaning: str) -> Self:
        member = str.__new__(cls, value)
        member._value_ = value
        member.meaning = meaning
        return member
