"""From a file to a description, or to all that is wrong with it at once."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable, Mapping
from typing import Any

from bcast.accessory.checking import check
from bcast.accessory.description import Description, Filled, Sample
from bcast.accessory.forms import Form, Role
from bcast.accessory.headers import make_headers
from bcast.accessory.holes import every_hole, split
from bcast.accessory.json_text import make_json
from bcast.accessory.layout import make_hex
from bcast.accessory.lines import Lines
from bcast.accessory.mistakes import DescriptionError, Mistake, Wrong, meant
from bcast.accessory.pairs import make_pairs
from bcast.accessory.tables import KEYS, KINDS, Table, settings
from bcast.accessory.template import Making, Template
from bcast.accessory.text import TextPattern, compile_text, make_text
from bcast.accessory.through import Through
from bcast.accessory.transforms import transform
from bcast.accessory.xml_text import make_xml

__all__ = ["load"]

_ROLES: tuple[Role, ...] = ("probe", "reply", "announcement", "goodbye")
_NAME = re.compile(r"[a-z][a-z0-9_-]{0,31}")
_MAKERS: dict[str, Callable[[str, Making], Template]] = {
    "hex": make_hex,
    "text": make_text,
    "json": make_json,
    "headers": make_headers,
    "xml": make_xml,
}


def load(text: str, *, file: str, tried: bool = False) -> Description:
    """The description in the TOML ``text``; ``file`` names it in mistakes. ``tried``: it is
    known to work, so its messages and samples aren't tried out.

    Raises `DescriptionError` with all mistakes at once.
    """
    try:
        content = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        found = re.search(r"\(at line (\d+)", str(error))
        # The end is where something is missing.
        line = int(found[1]) if found else text.count("\n", 0, len(text.rstrip())) + 1
        message = re.sub(r" \(at .*\)$", "", str(error))
        raise DescriptionError([Mistake(file, line, "", f"this isn't TOML: {message}")]) from None
    except RecursionError:
        raise DescriptionError([Mistake(file, 0, "", "this is nested too deeply")]) from None
    return _Loader(content, Lines(text), file).load(tried=tried)


class _Loader:
    def __init__(self, content: dict[str, Any], lines: Lines, file: str) -> None:
        self._content = content
        self._lines = lines
        self._file = file
        self._mistakes: list[Mistake] = []
        self._top = Table("", 0, content)
        self._tables = {role: self._read_tables(role) for role in (*_ROLES, "part", "sample")}
        self._parts: dict[str, Table] = {}
        for table in self._tables["part"]:
            part = table.content.get("name")
            if not isinstance(part, str) or not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", part):
                self.wrong(table, "name: a part needs one, a word", key="name")
            elif part in self._parts:
                self.wrong(table, f"'{part}' is taken: give this one another name", key="name")
            else:
                self._parts[part] = table
        self._made: dict[str, Template] = {}
        #: Parts that are being made: one that comes again contains itself.
        self._open: list[str] = []
        self._needs = ""

    def wrong(
        self, table: Table, message: str, *, near: str = "", key: str = "", below: int = -1
    ) -> None:
        """Notes a mistake; ``key`` and ``near`` help to find its line."""
        line = self._lines.find(table.name, table.number, near, key, below)
        mistake = Mistake(self._file, line, table.label, message)
        if mistake not in self._mistakes:
            self._mistakes.append(mistake)

    def load(self, *, tried: bool) -> Description:
        top, content = self._top, self._content
        self._check_keys(top, KEYS[""])
        name = content.get("name", "")
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            self.wrong(top, "name: has to be 1 to 32 of a-z, 0-9, _ and -", key="name")
        title = content.get("title", str(name))
        if not isinstance(title, str):
            self.wrong(top, "title: has to be text", key="title")
        used = self._used_parts()
        for part in self._parts:
            if part not in used:
                self.wrong(self._parts[part], "no message uses it")
            self._part(part)
        messages = self._messages()
        device, collect = self._device()
        defaults, rows = self._impersonate()
        only_if = {
            form.name: {
                value: tuple(self._filled(table, text, "only_if") for text in allowed)
                for value, allowed in form.only_if.items()
            }
            for form, table in messages
        }
        samples = self._samples({form.name: form for form, _ in messages})
        self._stop()
        description = Description(
            name=name,
            title=str(title),
            port=content["port"],
            group=content.get("group", ""),
            messages=tuple(form for form, _ in messages),
            device=device,
            collect=collect,
            defaults=defaults,
            rows=rows,
            only_if=only_if,
            samples=samples,
            path=self._file,
            needs=self._needs,
        )
        if tried:
            return description
        tables = {form.name: table for form, table in messages}
        for where, message, near in check(description):
            table = top
            if isinstance(where, int):
                table = self._tables["sample"][where]
            elif where:
                table = tables[where]
            self.wrong(table, message, near=near)
        self._stop()
        return description

    def _stop(self) -> None:
        if self._mistakes:
            raise DescriptionError(sorted(self._mistakes, key=lambda m: m.line))

    # --- tables and keys

    def _read_tables(self, name: str) -> list[Table]:
        value = self._content.get(name, [])
        if isinstance(value, dict):
            # [probe] for [[probe]]: there is one, and it is clear what is meant.
            value = [value]
        if not isinstance(value, list) or not all(isinstance(v, dict) for v in value):
            self.wrong(self._top, f"{name}: write [[{name}]] on a line of its own", key=name)
            return []
        return [Table(name, index, content) for index, content in enumerate(value)]

    def _check_keys(self, table: Table, known: tuple[str, ...]) -> None:
        what = f"a {table.name}" if table.name else "a description"
        for key in table.content:
            if key not in known:
                self.wrong(table, f"{key}: isn't a key of {what}{meant(key, known)}", key=key)

    # --- templates

    def _used_parts(self) -> set[str]:
        """The parts that any template names, as far as can be told from its text."""
        used: set[str] = set()
        for role in (*_ROLES, "part"):
            for table in self._tables[role]:
                for kind in KINDS:
                    text = table.content.get(kind)
                    if isinstance(text, str):
                        for words in re.findall(r":@([\w|]+)", text):
                            used.update(words.split("|"))
                        for words in re.findall(r":each\(([^()]*)\)", text):
                            used.update(w.strip().removesuffix("*") for w in words.split(","))
        return used

    def _part(self, name: str) -> Template:
        """A part, ready to use. Raises `Wrong` if there is none."""
        if name in self._open:
            way = " -> ".join((*self._open[self._open.index(name) :], name))
            raise Wrong(f"the part '{name}' contains itself ({way})", 0, name)
        if name in self._made:
            return self._made[name]
        if name not in self._parts:
            raise Wrong(f"there is no [[part]] '{name}'{meant(name, self._parts)}", 0, name)
        self._open.append(name)
        table = self._parts[name]
        self._check_keys(table, KEYS["part"])
        made = self._template(table)
        self._open.pop()
        self._made[name] = made
        return made

    def _template(self, table: Table) -> Template:
        content = table.content
        kinds = [kind for kind in KINDS if kind in content]
        if len(kinds) != 1:
            which = " and ".join(kinds) if kinds else "none"
            self.wrong(table, f"it needs one of {', '.join(KINDS)}, and has {which}")
            return make_hex("", Making(self._part, lambda _: None))
        kind = kinds[0]
        text = content[kind]
        if not isinstance(text, str):
            self.wrong(table, f"{kind}: has to be text", key=kind)
            text = ""

        def note(wrong: Wrong) -> None:
            below = text[: wrong.offset].count("\n")
            self.wrong(table, wrong.message, near=wrong.near, key=kind, below=below)

        making = Making(self._part, note, self._namespaces())
        template: Template
        try:
            if kind == "pairs":
                separator = content.get("separator", ";")
                if not isinstance(separator, str) or not separator:
                    raise Wrong(
                        "separator: has to be what stands between two pairs", 0, "separator"
                    )
                template = make_pairs(text, making, separator)
            else:
                template = _MAKERS[kind](text, making)
                if "separator" in content:
                    self.wrong(table, "separator: is for pairs", key="separator")
        except Wrong as wrong:
            note(wrong)
            template = make_hex("", Making(self._part, lambda _: None))
        return self._through(table, template)

    def _through(self, table: Table, template: Template) -> Template:
        names = table.content.get("through", [])
        if isinstance(names, str):
            names = [names]
        if not isinstance(names, list) or not all(isinstance(n, str) for n in names):
            self.wrong(table, 'through: is a list like ["base64"]', key="through")
            return template
        steps = []
        for name in names:
            try:
                step = transform(name)
            except Wrong as wrong:
                self.wrong(table, f"through: {wrong.message}", key="through")
            else:
                steps.append(step)
                self._needs = self._needs or step.missing
        return Through(steps, template) if steps else template

    def _namespaces(self) -> Mapping[str, str]:
        value = self._content.get("namespaces", {})
        if not isinstance(value, dict) or not all(isinstance(v, str) for v in value.values()):
            self.wrong(self._top, 'namespaces: prefix = "URI", all of them', key="namespaces")
            return {}
        return value

    # --- messages

    def _messages(self) -> list[tuple[Form, Table]]:
        found: list[tuple[Form, Table]] = []
        names: set[str] = set()
        if not any(self._tables[role] for role in _ROLES):
            self.wrong(self._top, "it has no message: add a [[probe]] or an [[announcement]]")
        tables = [table for role in _ROLES for table in self._tables[role]]
        for table, form in settings(self._top, tables, self.wrong):
            self._check_keys(table, KEYS[table.name])
            if form.name in names:
                self.wrong(
                    table, f"'{form.name}' is taken: give this one a name of its own", key="name"
                )
            names.add(form.name)
            found.append((form._replace(template=self._template(table)), table))
        return found

    # --- what a device is, and who stands in for one

    def _filled(self, table: Table, text: str, key: str) -> TextPattern:
        def note(wrong: Wrong) -> None:
            self.wrong(table, f"{key}: {wrong.message}", near=wrong.near, key=key)

        return compile_text(text, Making(self._part, note))

    def _device(self) -> tuple[dict[str, TextPattern | Any], tuple[str, ...]]:
        content = self._content.get("device", {})
        table = Table("device", 0, content if isinstance(content, dict) else {})
        if not isinstance(content, dict):
            self.wrong(self._top, 'device: is a table like { type = "light" }', key="device")
        device: dict[str, TextPattern | Any] = {}
        collect = table.content.get("collect", [])
        if not isinstance(collect, list) or not all(isinstance(c, str) for c in collect):
            self.wrong(table, "collect: is a list of attributes", key="collect")
            collect = []
        for key, value in table.content.items():
            if key == "collect":
                continue
            if isinstance(value, str) and any(every_hole(split(value, wrong=lambda _: None))):
                device[key] = self._filled(table, value, key)
            elif isinstance(value, str | int) and not isinstance(value, bool):
                device[key] = value
            else:
                self.wrong(table, f"{key}: has to be text or a number", key=key)
        return device, tuple(collect)

    def _impersonate(
        self,
    ) -> tuple[dict[str, Filled], dict[str, tuple[dict[str, Filled], ...]]]:
        content = self._content.get("impersonate", {})
        table = Table("impersonate", 0, content if isinstance(content, dict) else {})
        if not isinstance(content, dict):
            self.wrong(self._top, "impersonate: is a table", key="impersonate")
        defaults: dict[str, Filled] = {}
        rows: dict[str, tuple[dict[str, Filled], ...]] = {}
        for key, value in table.content.items():
            if isinstance(value, list) and value and all(isinstance(v, dict) for v in value):
                rows[key] = tuple(
                    {n: self._value(table, v, key) for n, v in row.items()} for row in value
                )
            else:
                defaults[key] = self._value(table, value, key)
        return defaults, rows

    def _value(self, table: Table, value: Any, key: str) -> Filled:
        if isinstance(value, str):
            if any(every_hole(split(value, wrong=lambda _: None))):
                return self._filled(table, value, key)
            return value.replace("{{", "{").replace("}}", "}")
        if isinstance(value, int | float):
            return value
        if isinstance(value, list):
            items = [self._value(table, item, key) for item in value]
            if not any(isinstance(item, list) for item in items):
                if any(isinstance(item, TextPattern) for item in items):
                    return [
                        i if isinstance(i, TextPattern) else self._filled(table, str(i), key)
                        for i in items
                    ]
                return items  # type: ignore[return-value]
        self.wrong(table, f"{key}: a value is text, a number, true or false, or a list", key=key)
        return ""

    # --- samples

    def _samples(self, forms: Mapping[str, Form]) -> tuple[Sample, ...]:
        samples: list[Sample] = []
        for table in self._tables["sample"]:
            self._check_keys(table, KEYS["sample"])
            content = table.content
            message = content.get("message", "")
            if "message" not in content:
                self.wrong(table, f'say which it is: message = "..." ({", ".join(forms)})')
            elif message not in forms:
                self.wrong(
                    table,
                    f"message: there is no message '{message}'{meant(str(message), forms)}",
                    key="message",
                )
            means = content.get("means", {})
            if not isinstance(means, dict):
                self.wrong(table, "means: is a table like { id = ... }", key="means")
                means = {}
            answers = content.get("answers", 0)
            if type(answers) is not int or not 0 <= answers <= len(self._tables["sample"]):
                self.wrong(
                    table,
                    "answers: is the number of the sample that it answers, from 1",
                    key="answers",
                )
                answers = 0
            payload = self._payload(table)
            samples.append(Sample(str(message), payload, means, answers))
        return tuple(samples)

    def _payload(self, table: Table) -> bytes:
        hexed, text = table.content.get("hex"), table.content.get("text")
        if isinstance(text, str) and hexed is None:
            return text.encode()
        if isinstance(hexed, str) and text is None:
            try:
                return bytes.fromhex(re.sub(r"#.*", "", hexed))
            except ValueError:
                self.wrong(table, "hex: has to be pairs of hex digits", key="hex")
                return b""
        self.wrong(table, "a sample has the datagram as hex or as text")
        return b""
