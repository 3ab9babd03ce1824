"""The little English that captions need: class names as words, plurals, counts and articles.

The inflect package was tried: it brings three more, makes "treess" of "trees" and "car park fulls of cars",
and counts "three grasses". Class names are few in kind: rules about the head noun and a table serve better.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache


def _table(words: str) -> tuple[str, ...]:
    return tuple(words.split())


_SMALL = _table(
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen "
    "seventeen eighteen nineteen"
)
_TENS = _table("twenty thirty forty fifty sixty seventy eighty ninety")

_IRREGULAR = dict(
    pair.split(":")
    for pair in _table(
        "man:men person:people child:children foot:feet tooth:teeth mouse:mice goose:geese ox:oxen "
        "leaf:leaves shelf:shelves wharf:wharves half:halves wolf:wolves calf:calves knife:knives "
        "loaf:loaves oasis:oases hero:heroes volcano:volcanoes tomato:tomatoes potato:potatoes "
        "buffalo:buffaloes torpedo:torpedoes gas:gases lens:lenses canvas:canvases prairie:prairies "
        "quiz:quizzes campus:campuses walrus:walruses cactus:cactuses cache:caches"
    )
)
_SINGULAR = {many: one for one, many in _IRREGULAR.items()}
_UNCHANGED = _table(
    "sheep deer fish moose bison salmon trout series species crossroads headquarters barracks gallows chassis"
)
_UNCHANGED_ENDS = ("craft", "works")  # aircraft, hovercraft; steelworks, waterworks
_NOT_MEN = ("human", "german", "roman", "ottoman", "caiman", "talisman", "shaman")
_NOT_MANY = ("specimen", "regimen", "abdomen", "stamen")

# What has no plural is counted in units of itself.
_AREAS = _table(
    "water grass gravel dirt soil sand mud snow ice rubble vegetation foliage scrub pavement paving asphalt "
    "concrete land farmland grassland woodland wasteland terrain smoke shade"
)
_PIECES = _table("debris wreckage garbage litter equipment machinery furniture luggage")
_HEADS = _table("cattle livestock poultry")
_UNITS = {**dict.fromkeys(_AREAS, "area"), **dict.fromkeys(_PIECES, "piece"), **dict.fromkeys(_HEADS, "head")}
_GROUND = ("bare ground", "concrete ground", "open ground", "rocky ground")  # but: a sports ground

# The head noun stands before these: "ship on the water", "car park full of cars", "person riding a bicycle".
_AFTER_HEAD = _table(
    "of on in at by with without over under above below near beside behind between among along across around "
    "from to for into through towards full that which who seen parked moored anchored covered surrounded "
    "made used lying sitting standing walking running swimming riding driving moving flying carrying wearing"
)
# Names of classes that are no thing: what annotators left over.
NO_THINGS = frozenset(
    ("", *_table("background unlabeled unlabelled unknown void ignored clutter conflicting others"))
)
_DETERMINERS = _table("a an the some many several few no one two three")


def readable(name: str) -> str:
    """A class name as data sets write it, in words: "ground_track_field", "OtherVehicle", "small-vehicle".

    A hyphen is kept where there are spaces too, since then somebody wrote a phrase.
    """
    spaced = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", " ", name) if name.count(" ") == 0 else name
    if " " not in name.strip():
        spaced = spaced.replace("-", " ")
    return " ".join(spaced.replace("_", " ").replace("/", " or ").lower().split())


def number_word(number: int) -> str:
    """A number from 0 to 99 as a word, a greater one in digits."""
    if not 0 <= number < 100:
        return str(number)
    if number < len(_SMALL):
        return _SMALL[number]
    tens, ones = divmod(number, 10)
    return _TENS[tens - 2] + (f"-{_SMALL[ones]}" if ones else "")


@lru_cache(maxsize=4096)
def singular(phrase: str) -> str:
    """The phrase for one: "oil tanks" -> "oil tank"; one that is singular already stays as it is."""
    return _at_head(phrase, _singular_word)


@lru_cache(maxsize=4096)
def plural(phrase: str) -> str:
    """The phrase for several: "city bus" -> "city buses"; one that is plural already stays as it is.

    What cannot be counted gets a unit: "grass" -> "areas of grass".
    """
    return _at_head(_countable(phrase), lambda word: _plural_word(_singular_word(word)))


def amount(number: int, phrase: str, *, digits: bool = False) -> str:
    """So many of the things: "no ships", "one person", "three areas of grass", "12 buses" with digits."""
    counted = singular(_countable(phrase)) if number == 1 else plural(phrase)
    if digits:
        return f"{number} {counted}"
    return f"{number_word(number) if number else 'no'} {counted}"


def with_article(phrase: str) -> str:
    """The phrase with "a" or "an" where one is due: not before plurals, nor what cannot be counted."""
    first = phrase.split(" ", 1)[0].lower()
    if first in _DETERMINERS or _countable(phrase) != phrase or singular(phrase) != phrase:
        return phrase
    sounds_like_consonant = first.startswith(("uni", "use", "usa", "eu", "one"))
    silent_h = first.startswith(("hour", "honest", "honour", "heir"))
    vowel = silent_h or (first[:1] in "aeiou" and not sounds_like_consonant)
    return f"{'an' if vowel else 'a'} {phrase}"


def _head(words: list[str]) -> int:
    """How many words the phrase has up to its head noun, which is the last of them."""
    return next((at for at, word in enumerate(words) if at and word.lower() in _AFTER_HEAD), len(words))


def _countable(phrase: str) -> str:
    words = phrase.split()
    noun = " ".join(words[: _head(words)]).lower()
    unit = "area" if noun.endswith(_GROUND) else _UNITS.get(noun.split(" ")[-1])
    return f"{unit} of {phrase}" if unit else phrase


def _at_head(phrase: str, change: Callable[[str], str]) -> str:
    words = phrase.split()
    if not words:
        return phrase
    head = _head(words)
    words[head - 1] = change(words[head - 1])
    if head >= 3 and words[head - 2] == "or":  # "bus or truck", but not "red or blue car"
        words[head - 3] = change(words[head - 3])
    return " ".join(words)


def _unchanged(word: str) -> bool:
    return word in _UNCHANGED or word.endswith(_UNCHANGED_ENDS)


def _singular_word(word: str) -> str:
    small = word.lower()
    if small in _SINGULAR:
        return _SINGULAR[small]
    if _unchanged(small) or small in _IRREGULAR or len(small) < 4 or not small.endswith(("s", "men")):
        return word
    if small.endswith(("ss", "us", "is", *_NOT_MANY)):
        return word
    if small.endswith("men"):
        return f"{word[:-2]}an"
    if small.endswith("ies") and len(small) > 4:
        return f"{word[:-3]}y"
    if small.endswith(("sses", "ches", "shes", "xes", "zzes", "buses")):
        return word[:-2]
    return word[:-1]


def _plural_word(word: str) -> str:
    small = word.lower()
    if small in _IRREGULAR:
        return _IRREGULAR[small]
    if _unchanged(small) or small == "head":
        return word
    if small.endswith("man") and not small.endswith(_NOT_MEN):
        return f"{word[:-2]}en"
    if small.endswith(("s", "x", "z", "ch", "sh")):
        return f"{word}es"
    if small.endswith("y") and small[-2:-1] not in tuple("aeiou"):
        return f"{word[:-1]}ies"
    return f"{word}s"
