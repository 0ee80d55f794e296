"""XML as a template: by namespace and local name, and nothing of XML that is dangerous."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bcast.accessory.template import Misfit, Missing, Reading
from bcast.accessory.xml_text import XmlTemplate, make_xml
from bcast.accessory.xml_tree import MAX_DEPTH, MAX_ELEMENTS, parse
from tests.templates import longest, making, misfit, mistake, read, write

MATCH = """<s:Envelope>
  <s:Header><s:To>urn:anyone</s:To>
    <d:Seq Instance="{_instance?}" Number="{_number?:int}"/></s:Header>
  <s:Body><d:Match><d:Address>urn:uuid:{id:uuid}</d:Address><d:Types>{types?:qnames}</d:Types>
    <d:Scopes>{scopes?:list}</d:Scopes><d:Version>{version:int~1}</d:Version></d:Match></s:Body>
</s:Envelope>"""

UUID = "3d1219c7-c4c5-404a-aa1f-6d2a48adfda4"


def made(text: str = MATCH) -> XmlTemplate:
    return make_xml(text, making())


def test_a_document_reads_and_writes_itself() -> None:
    document = (
        '<?xml version="1.0" encoding="utf-8"?><s:Envelope xmlns:s="urn:soap"'
        ' xmlns:d="urn:discovery"><s:Header><s:To>urn:anyone</s:To>'
        '<d:Seq Instance="7" Number="2"/></s:Header><s:Body><d:Match>'
        f"<d:Address>urn:uuid:{UUID}</d:Address><d:Types>d:Printer</d:Types>"
        "<d:Scopes>onvif://a b</d:Scopes><d:Version>3</d:Version></d:Match></s:Body></s:Envelope>"
    ).encode()
    values = read(made(), document)
    assert values == {
        "_instance": "7",
        "_number": 2,
        "id": UUID,
        "types": ["d:Printer"],
        "scopes": ["onvif://a", "b"],
        "version": 3,
    }
    assert write(made(), values) == document


def test_prefixes_order_and_what_is_not_listed_do_not_matter() -> None:
    document = f"""\ufeff<?xml version="1.0"?><!-- x -->
      <Envelope xmlns="urn:soap" xmlns:q="urn:discovery" xml:lang="en"><Body z="1"><q:Match>
      <q:Version>2</q:Version><q:Other><q:Address/></q:Other>
      <q:Address> urn:uuid:<![CDATA[{UUID.upper()}]]> </q:Address></q:Match></Body>
      <Header><To><?pi x?>urn:&#x61;nyone</To></Header></Envelope>"""
    assert read(made(), document) == {"id": UUID, "version": 2}


def test_names_with_prefixes_are_the_descriptions_both_ways() -> None:
    template = made("<d:A><d:Types>{types:qnames}</d:Types></d:A>")
    found = read(
        template,
        '<x:A xmlns:x="urn:discovery"><x:Types xmlns:p="urn:pub" xmlns="urn:soap">'
        "x:Device p:Computer Plain no:Where</x:Types></x:A>",
    )
    assert found == {"types": ["d:Device", "{urn:pub}Computer", "s:Plain", "no:Where"]}
    values = ["d:Device", "{urn:pub}Computer", "{urn:soap}Plain", "Bare"]
    written = write(template, {"types": [*values]})
    assert b'<d:Types xmlns:q0="urn:pub">d:Device q0:Computer s:Plain Bare</d:Types>' in written
    assert read(template, written) == {
        "types": ["d:Device", "{urn:pub}Computer", "s:Plain", "Bare"]
    }
    with pytest.raises(Misfit, match="no prefix 'x'"):
        write(template, {"types": ["x:Device"]})
    with pytest.raises(Misfit, match="no name"):
        write(template, {"types": ["a:b:c"]})


def test_what_is_optional_may_be_absent_with_its_element() -> None:
    template = made("<s:A><s:B>{b?}</s:B><s:C x='{x?}' y='{y?}'>{c?:int}</s:C></s:A>")
    assert read(template, '<A xmlns="urn:soap"/>') == {}
    assert read(template, '<A xmlns="urn:soap"><B/><C y="1">2</C></A>') == {"y": "1", "c": 2}
    declared = b'<s:A xmlns:s="urn:soap" xmlns:d="urn:discovery"'
    assert write(template).endswith(declared + b"/>")
    assert write(template, {"c": 2}).endswith(declared + b"><s:C>2</s:C></s:A>")
    assert write(template, {"x": "<"}).endswith(declared + b'><s:C x="&lt;"/></s:A>')


def test_the_second_in_the_template_is_the_second_in_the_document() -> None:
    template = made("<s:A><s:B>{a}</s:B><s:B>{b?}</s:B></s:A>")
    assert read(template, '<A xmlns="urn:soap"><B>1</B><B>2</B><B>3</B></A>') == {
        "a": "1",
        "b": "2",
    }
    assert read(template, '<A xmlns="urn:soap"><B>1</B></A>') == {"a": "1"}


def test_an_element_without_text_in_the_template_may_have_any() -> None:
    assert read(made("<s:A><s:Probe/></s:A>"), '<A xmlns="urn:soap"><Probe>x</Probe></A>') == {}
    misfit(made("<s:A><s:Probe/></s:A>"), '<A xmlns="urn:soap"/>', "has no <s:Probe>")


def test_a_part_is_an_element() -> None:
    header = made("<s:Header><s:To>{to}</s:To></s:Header>")
    template = make_xml("<s:A>{:@header}<s:B>{b}</s:B></s:A>", making(header=header))
    values = read(template, '<A xmlns="urn:soap"><B>1</B><Header><To>x</To></Header></A>')
    assert values == {"to": "x", "b": "1"}
    assert [hole.name for hole in template.holes] == ["to", "b"]
    assert b"><s:Header><s:To>x</s:To></s:Header><s:B>1</s:B></s:A>" in write(template, values)


def test_an_echo_is_checked() -> None:
    template = made("<s:A><s:To>urn:uuid:{_to:uuid=probe._id}</s:To></s:A>")
    document = f'<A xmlns="urn:soap"><To>urn:uuid:{UUID}</To></A>'
    assert read(template, document, {"_id": UUID}) == {"_to": UUID}
    with pytest.raises(Misfit, match="probe has"):
        read(template, document, {"_id": UUID.replace("3", "4")})
    with pytest.raises(Missing):
        write(template)


@pytest.mark.parametrize(
    ("payload", "words"),
    [
        ("{}", "no XML"),
        ("", "no XML"),
        ("<", "no XML"),
        ("<a/>", "it is <a>, not <s:Envelope>"),
        ('<Envelope xmlns="urn:other"/>', "it is <Envelope>"),
        ('<Envelope xmlns="urn:soap"/>', "has no <s:Header>"),
        ('<Envelope xmlns="urn:soap"><Haeder/></Envelope>', "<s:Header>, but 'Haeder'"),
        ('<Envelope xmlns="urn:soap"><Header xmlns=""/></Envelope>', "another namespace"),
        ('<Envelope xmlns="urn:soap"><Header><To>x</To></Header></Envelope>', "<s:To>: 'x'"),
        ('<x:Envelope xmlns="urn:soap"/>', "unbound prefix"),
        (b'<?xml version="1.0" encoding="ut.-8"?><a/>', "it is <a>"),
        (b'<?xml version="1.0" encoding="utf-16"?><a/>', "it is <a>"),
        (b"\xff\xfe<\x00a\x00/\x00>\x00", "no XML"),
        (b"<a>\xed\xa0\x80</a>", "no XML"),
        (b"<a>\xfc</a>", "no XML"),
        (b"<a>\x00</a>", "no XML"),
        ("<a>&b;</a>", "no XML"),
        ("<!DOCTYPE a><a/>", "document type"),
        ('<!DOCTYPE a SYSTEM "http://10.0.0.1/a"><a/>', "document type"),
        ('<!DOCTYPE a [<!ENTITY b "c"><!ENTITY d "&b;&b;">]><a>&d;</a>', "document type"),
        ("<a>" * (MAX_DEPTH + 1), "deep"),
        ("<a>" + "<b/>" * MAX_ELEMENTS + "</a>", "elements"),
        ("<a" + "".join(f' xmlns:p{n}="u"' for n in range(65)) + "/>", "prefixes"),
    ],
)
def test_what_does_not_fit_has_a_reason(payload: bytes | str, words: str) -> None:
    misfit(made(), payload, words)


def test_values_are_written_so_that_they_stay_values() -> None:
    template = made('<s:A b="{b}">{a}</s:A>')
    hostile = "</s:A><x y='\"&amp;]]>\t\n\r"
    values = read(template, write(template, {"a": "x" + hostile + "x", "b": hostile}))
    assert values == {"a": "x" + hostile + "x", "b": hostile}
    for impossible in ("\x00", "\ufffe", "\ud800"):
        with pytest.raises(Misfit, match="XML can't say"):
            write(template, {"a": impossible, "b": ""})


_TEXT = st.text(
    st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="\ufffe\uffff"), max_size=20
).map(str.strip)


@given(
    _TEXT, _TEXT, st.lists(st.from_regex(r"(d:|\{urn:[a-z]{1,5}\})?[A-Z][a-z]*", fullmatch=True))
)
def test_what_was_written_is_read(a: str, b: str, types: list[str]) -> None:
    template = made('<s:A b="{b}"><s:T>{types:qnames}</s:T>{a}</s:A>')
    values = read(template, write(template, {"a": a, "b": b, "types": [*types]}))
    assert values == {"a": a, "b": b, "types": types}


_BITS = [
    "<a",
    "<s:A",
    ">",
    "/>",
    "</a>",
    "</s:A>",
    ' xmlns:s="urn:soap"',
    "&#0;",
    "&lt;",
    "x",
    "<!--",
]


@given(st.lists(st.sampled_from([*_BITS, "]]>", "<![CDATA[", "<?x", "?>", "<!DOCTYPE"])))
def test_any_bytes_are_read_or_a_misfit(bits: list[str]) -> None:
    try:
        made("<s:A>{a}</s:A>").read("".join(["<s:A", *bits]).encode(), Reading())
    except Misfit as reason:
        str(reason)


def test_a_flood_in_one_datagram_takes_no_time() -> None:
    entities = "".join(f'<!ENTITY e{n} "&e{n - 1};&e{n - 1};">' for n in range(1, 100))
    hostile = [
        f'<!DOCTYPE a [<!ENTITY e0 "x">{entities}]><a>&e99;</a>'.encode(),
        b"<a>" * 21_000,
        b"<a>" + b"<b/>" * 16_000,
        b"<a" + b"".join(b' a%d=""' % n for n in range(6_000)) + b"/>",
        b"<a" + b"".join(b' xmlns:a%d="u"' % n for n in range(4_000)) + b"/>",
        b"<a>" + b"x<!---->" * 8_000 + b"</a>",
        b"<a>" + b"\n" * 64_000 + b"</a>",
        b"<a>" + b"&lt;" * 16_000 + b"</a>",
        b"<a x='" + b"&#65;" * 13_000 + b"'/>",
        b"<" + b"a" * 65_000 + b"/>",
        b"<!--" + b"-" * 65_000,
        b"<a>" + b"]" * 65_000 + b"</a>",
        b'<A xmlns="urn:soap">' + b"B " * 30_000 + b"</A>",
    ]
    template = made("<s:A>{a:qnames}</s:A>")
    assert longest(hostile, lambda payload: str(read(template, payload))) < 0.05
    misfit(template, hostile[0], "document type")
    misfit(template, hostile[-1], "characters")
    misfit(template, '<A xmlns="urn:soap">' + "B " * 65 + "</A>", "65 names")


def test_the_text_of_an_element_is_all_that_is_directly_in_it() -> None:
    root = parse(b"<a> x<b>y</b>z <c/>\n</a>")
    assert root.text == "xz"
    assert [child.name for child in root.children] == ["b", "c"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("<s:A>", "no XML"),
        ("", "no XML"),
        ("<x:A/>", "no prefix 'x'"),
        ("<s:A x:b='1'/>", "no prefix 'x'"),
        ("<s:A xmlns:x='urn:x'/>", "belongs into [namespaces]"),
        ("<s:A>{a:itn}</s:A>", "did you mean 'int'"),
        ("<s:A>{a:qnames~x}</s:A>", "neither"),
        ("<s:A>{*}</s:A>", "{*}"),
        ("<s:A>{:@header}</s:A>", "no part header"),
    ],
)
def test_a_mistake_in_a_description_is_explained(text: str, words: str) -> None:
    with mistake(words) as noted:
        make_xml(text, noted)


def test_a_part_of_another_kind_cannot_be_an_element() -> None:
    from bcast.accessory.json_text import make_json
    from bcast.accessory.mistakes import Wrong

    with pytest.raises(Wrong, match="of XML"):
        make_xml("<s:A>{:@inner}</s:A>", making(inner=make_json("{}", making())))
