"""One prompt asked of one image set: makes the tasks of an item, one at a time.

1. What does not depend on the item is rendered once for each variant and shared by all tasks, never copied.
2. A task's request is complete here: exactly the text fields to send, and the paths of all files.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Generic, TypeVar

from msgspec import Struct
from msgspec.structs import replace

from pipeline.tasks.compiled import OF_REPEAT, OF_VARIANT, Asked, Source
from pipeline.tasks.identity import Labels, item_id, seed, task_suffix
from pipeline.tasks.listing import MOST_IMAGES, file_parts
from pipeline.tasks.matrix import longest_variant_text, texts, variant_count, variant_text, variants
from pipeline.tasks.naming import Naming, ordinary_folder, ordinary_name
from pipeline.tasks.task import Input, Item, Role, Task
from pipeline.tasks.templates import OF_ITEM, Named, Template

LONGEST_PROMPT = 32_000
"""Characters, as the endpoint's reference says."""
_KEPT = 4096
"""How many rendered variants are kept; further ones are rendered whenever they are needed."""

_KEPT_SPOTS = 1024
"""Of so many variants of a prompt the names are kept; of more they are made anew for each item."""

T = TypeVar("T")
Values = Mapping[str, Any]


class Sending(Struct, frozen=True):
    """The files that a task sends, and its item, unusable where they are too many."""

    item: Item
    inputs: tuple[Input, ...]


class Spot(Struct, frozen=True):
    """A variant and repeat of a prompt: `index` counts them from 0, `of_variant` is that of the variant's first repeat.

    `suffix` ends a task's id; `text` and `matrix` are what `variant` and `matrix` mean in a template. `folder` begins
    its default paths, where nothing can be wrong with that part. The keys say what of an item it shares with others.
    """

    index: int
    of_variant: int
    variant: Labels
    repeat: int
    suffix: str
    text: str
    matrix: Named
    folder: str | None
    fields_key: int
    sending_key: int


class Ask:
    """A prompt's requests for the items of one set, whose paths start from the absolute `folder`."""

    def __init__(self, folder: str, source: Source, asked: Asked, naming: Naming) -> None:
        self.asked = asked
        self._images = asked.images
        self._folder = folder
        self._source = source.set.name
        self._naming = naming
        self._mask = asked.mask or source.mask
        self._references = (*source.references, *asked.references)
        files = (*self._references, *((self._mask,) if self._mask else ()))
        parts = [asked.text.uses, *(value.uses for value in asked.extra.values()), *(each.uses for each in files)]
        self.of_item = any(uses & OF_ITEM for uses in parts)
        self.of_both = any(uses & OF_ITEM and uses & OF_VARIANT for uses in parts)
        self._uses = naming.template.uses.union(*parts)
        self._kept_spots: tuple[Spot, ...] = ()
        fields = asked.text.uses.union(*(value.uses for value in asked.extra.values()))
        self._fields = _Memo(fields, self._render_fields)
        self._sending = _Memo(frozenset({"key"}).union(*(each.uses for each in files)), self._render_sending)
        self._item: Item | None = None
        self._names: tuple[str, ...] | None = None

    @property
    def count(self) -> int:
        """How many tasks an item has."""
        return variant_count(self.asked.axes) * self.asked.repeat

    def tasks(self, item: Item, wanted: Callable[[str], bool] | None = None) -> Iterator[Task]:
        """The item's tasks whose id is wanted. Raises FaultError for what cannot be rendered or named."""
        start, shared = item_id(item.set, item.key), self._item_values(item)
        for spot in self._spots():
            task = start + spot.suffix
            if wanted is None or wanted(task):
                if self._item is not item:
                    self._turn_to(item)
                yield self._task(task, item, shared, spot)

    def ids(self, item: Item) -> Iterator[str]:
        """The ids of the item's tasks; renders nothing."""
        start = item_id(item.set, item.key)
        return (start + spot.suffix for spot in self._spots())

    def _spots(self) -> Iterable[Spot]:
        """Every variant and repeat; made anew each time where they are too many to be kept."""
        if self.count > _KEPT_SPOTS:
            return self._made_spots()
        if not self._kept_spots:
            self._kept_spots = tuple(self._made_spots())
        return self._kept_spots

    def _made_spots(self) -> Iterator[Spot]:
        axes, repeats = self.asked.axes, self.asked.repeat
        for number, variant in enumerate(variants(axes)):
            first, matrix = number * repeats, Named("axis", texts(axes, variant))
            for repeat in range(1, repeats + 1):
                yield self._spot(first + repeat - 1, first, variant, repeat, matrix)

    def _spot(self, index: int, of_variant: int, variant: Labels, repeat: int, matrix: Named) -> Spot:
        name, text = self.asked.name, variant_text(variant, repeat)
        folder = f"{self._source}/{name}{text}/"
        return Spot(
            index,
            of_variant,
            variant,
            repeat,
            task_suffix(name, variant, repeat),
            text,
            matrix,
            folder if self._naming.fast and ordinary_folder(folder) else None,
            self._fields.key(index, of_variant),
            self._sending.key(index, of_variant),
        )

    def _turn_to(self, item: Item) -> None:
        """What of the tasks is the same for all variants of an item."""
        self._item = item
        names = tuple([f"{item.key}-{index}" for index in range(1, self._images + 1)])
        self._names = names if item.set == self._source and ordinary_name(names[-1]) else None
        self._fields.turn_to_another()
        self._sending.turn_to_another()

    def check_longest(self, item: Item) -> None:
        """Judges the item's longest output paths, for a naming that differs between variants in length alone.

        Raises FaultError.
        """
        longest = longest_variant_text(self.asked.axes, self.asked.repeat)
        named = {"set": item.set, "key": item.key, "prompt": self.asked.name, "variant": longest}
        self._naming.paths(named, self.asked.images)

    def _task(self, task: str, item: Item, shared: Values, spot: Spot) -> Task:
        sending = self._sending.kept.get(spot.sending_key)
        fields = self._fields.kept.get(spot.fields_key)
        folder, names = spot.folder, self._names
        if sending is None or fields is None or folder is None or names is None:
            values = self._values(task, shared, spot)
            sending = sending or self._sending.make(item, spot.sending_key, values)
            fields = fields or self._fields.make(item, spot.fields_key, values)
            paths = self._naming.paths(values, self._images)
        else:
            paths = tuple([folder + name for name in names])
        return Task(task, sending.item, self.asked.name, spot.variant, spot.repeat, fields, sending.inputs, paths)

    def _values(self, task: str, shared: Values, spot: Spot) -> dict[str, Any]:
        values = {**shared, "variant": spot.text}
        if "matrix" in self._uses:
            values["matrix"] = spot.matrix
        if "seed" in self._uses:
            values["seed"] = seed(task)
        return values

    def _item_values(self, item: Item) -> dict[str, Any]:
        values: dict[str, Any] = {"set": item.set, "key": item.key, "prompt": self.asked.name}
        if "file" in self._uses:
            values["file"] = file_parts(self._folder, item.images[0] if item.images else "")
        if item.row is not None:
            values["row"] = Named("column", item.row)
        return values

    def _render_fields(self, _item: Item, values: Values) -> Mapping[str, Any]:
        template = self.asked.text
        text = template.render(values)
        if not text.strip():
            raise template.fault("the prompt is empty", "expected text")
        if len(text) > LONGEST_PROMPT:
            raise template.fault(f"the prompt has {len(text):,} characters", f"expected at most {LONGEST_PROMPT:,}")
        extra = {name: value.render(values) for name, value in self.asked.extra.items()}
        return {**self.asked.fields, **extra, "prompt": text}

    def _render_sending(self, item: Item, values: Values) -> Sending:
        images = [Input("item", path) for path in item.images]
        for template in self._references:
            images += self._input("reference", template, values)
        if len(images) > MOST_IMAGES and item.problem is None:
            problem = f"the item has {len(images)} images with its references; expected at most {MOST_IMAGES}"
            item = replace(item, problem=problem)
        mask = self._input("mask", self._mask, values) if self._mask else ()
        return Sending(item, (*images, *mask))

    def _input(self, role: Role, template: Template, values: Values) -> tuple[Input, ...]:
        """The file that a template names; none where it gives nothing, as for a row without a mask."""
        path = template.render(values).strip()
        if "\0" in path:
            raise template.fault("the path holds a NUL", "expected a file's path")
        return (Input(role, os.path.join(self._folder, path)),) if path else ()


class _Memo(Generic[T]):
    """Keeps a thing once for each item, variant and repeat, as far as the fields that it uses differ between them.

    `kept` has by `key` what was made for the item at hand.
    """

    def __init__(self, uses: frozenset[str], make: Callable[[Item, Values], T]) -> None:
        self._of_item = bool(uses & OF_ITEM)
        self._of_variant = bool(uses & OF_VARIANT)
        self._of_repeat = bool(uses & OF_REPEAT)
        self._make = make
        self.kept: dict[int, T] = {}

    def turn_to_another(self) -> None:
        """Another item is at hand."""
        if self._of_item:
            self.kept.clear()

    def make(self, item: Item, key: int, values: Values) -> T:
        """What is made, and kept."""
        made = self._make(item, values)
        if len(self.kept) < _KEPT:
            self.kept[key] = made
        return made

    def key(self, index: int, of_variant: int) -> int:
        """Under which a spot's thing is kept."""
        return index if self._of_repeat else of_variant if self._of_variant else 0
