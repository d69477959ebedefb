//! The catalogue of awkward values: each case is a name and the attributes that make it awkward.

use super::awkward::extremes;
use super::value::{Attributes, MAX_ITEM_BYTES, Value, item_size, n, s};

/// One case.
#[derive(Debug)]
pub(crate) struct Case {
    /// What it is about; also the value of the attribute `case`.
    pub(crate) name: &'static str,
    /// Its attributes besides the key.
    pub(crate) attributes: Attributes,
}

/// Cases at the limit on size, the last of [`cases`].
pub(crate) const LARGEST: usize = 4;

/// Every case.
pub(crate) fn cases() -> Vec<Case> {
    let mut cases = vec![
        case("nothing but the key", vec![]),
        case("one of each type", one_of_each()),
        case("numbers", numbered("n", extremes().iter().map(|text| n(text)))),
        case("negative numbers", numbered("n", extremes().iter().map(|text| n(&format!("-{text}"))))),
        // minus zero comes back from DynamoDB as zero
        case("zeros", numbered("n", [n("0"), Value::Ns(vec![String::from("0")]), Value::L(vec![n("0")])])),
        case("texts", numbered("s", texts().into_iter().map(s))),
        case(
            "control characters",
            numbered("c", (0..32).chain([127]).map(|code| Value::S(char::from(code).to_string()))),
        ),
        case("binaries", numbered("b", binaries().into_iter().map(Value::B))),
        case("truth", numbered("t", [Value::Bool(true), Value::Bool(false), Value::Null])),
        case("sets", sets()),
        case("empty containers", empty_containers()),
        case("lists 32 deep", vec![(String::from("deep"), nested(32, |inner| Value::L(vec![inner])))]),
        case("maps 32 deep", vec![(String::from("deep"), nested(32, in_map))]),
        case("mixed 32 deep", vec![(String::from("deep"), nested(16, |inner| in_map(Value::L(vec![n("1"), inner]))))]),
        case("odd names", odd_names()),
        case("300 attributes", (0..300).map(|at| (format!("attribute_{at:03}"), n(&at.to_string()))).collect()),
        case("a name of 65535 bytes", vec![("n".repeat(65_535), s("long name"))]),
        case("values that look like types", type_lookalikes()),
    ];
    cases.extend(largest());
    cases
}

fn case(name: &'static str, attributes: Attributes) -> Case {
    Case { name, attributes }
}

fn numbered(stem: &str, values: impl IntoIterator<Item = Value>) -> Attributes {
    values.into_iter().enumerate().map(|(index, value)| (format!("{stem}{index:02}"), value)).collect()
}

fn one_of_each() -> Attributes {
    let map = vec![
        (String::from("inner"), s("value")),
        (String::from("list"), Value::L(vec![n("1"), s("two"), Value::Null])),
    ];
    let named = [
        ("string", s("text")),
        ("number", n("123.45")),
        ("binary", Value::B(vec![1, 2, 3])),
        ("boolean", Value::Bool(true)),
        ("null", Value::Null),
        ("map", Value::M(map)),
        ("list", Value::L(vec![Value::Bool(false), Value::L(vec![])])),
        ("string_set", Value::Ss(vec![String::from("b"), String::from("a")])),
        ("number_set", Value::Ns(vec![String::from("10"), String::from("9"), String::from("-1")])),
        ("binary_set", Value::Bs(vec![vec![255], vec![0]])),
    ];
    named.map(|(name, value)| (String::from(name), value)).to_vec()
}

fn texts() -> Vec<&'static str> {
    vec![
        "",
        " ",
        "trailing ",
        "\0",
        "a\0b",
        "\"",
        "\\",
        "\\\"",
        "\\\\",
        "\\u0041",
        "\\n",
        "/",
        "</script>",
        "\n",
        "\r\n",
        "\t",
        "\u{8}\u{c}",
        "😀",
        "👩\u{200d}👩\u{200d}👧\u{200d}👦",
        "🇪🇺",
        "\u{e9}",
        "e\u{301}",
        "\u{200b}",
        "\u{202e}right to left",
        "\u{2028}\u{2029}",
        "\u{feff}byte order mark",
        "\u{fffd}",
        "\u{fdd0}",
        "\u{ffff}",
        "\u{10ffff}",
        "\u{d7ff}\u{e000}",
        "straße",
        "İıſ",
        "漢字かな交じり文",
        "ا\u{644}عربية",
        "{\"S\":\"x\"}",
        "[1,2]",
        "null",
        "true",
        "NaN",
        "1e5",
        "007",
        "2024-02-30",
        "0000-00-00 00:00:00",
        "'; DROP TABLE orders; --",
        "%s %d {0}",
        "\\N",
        "a,b;c\td",
        "line one\nline two\n",
    ]
}

fn binaries() -> Vec<Vec<u8>> {
    let all: Vec<u8> = (0..=255).collect();
    vec![
        vec![],
        vec![0],
        vec![0, 0],
        vec![0, 0, 0],
        vec![255],
        vec![255, 254],
        vec![0x1f, 0x8b],
        b"text".to_vec(),
        b"\xc3\x28".to_vec(),
        all,
    ]
}

fn sets() -> Attributes {
    let strings = |members: &[&str]| Value::Ss(members.iter().map(|member| String::from(*member)).collect());
    let extremes = extremes().into_iter().flat_map(|number| [format!("-{number}"), number]);
    let named = [
        ("one", strings(&["x"])),
        ("empty_member", strings(&["", " ", "\0"])),
        ("twins", strings(&["key", "Key", "key ", "\u{e9}", "e\u{301}", "ss", "ß"])),
        ("quoted", strings(&["\"", "\\", "a\"b", "\u{2028}"])),
        ("unsorted", strings(&["b", "a", "c", "B", "😀", "\u{ffff}"])),
        ("numbers", Value::Ns(extremes.chain([String::from("0")]).collect())),
        ("binaries", Value::Bs(binaries())),
        ("many", Value::Ns((0..500).rev().map(|number| number.to_string()).collect())),
    ];
    named.map(|(name, value)| (String::from(name), value)).to_vec()
}

fn empty_containers() -> Attributes {
    let empty_map = || Value::M(Attributes::new());
    let both = Value::L(vec![empty_map(), Value::L(vec![]), s(""), Value::B(vec![])]);
    let named = [
        ("map", empty_map()),
        ("list", Value::L(vec![])),
        ("text", s("")),
        ("binary", Value::B(vec![])),
        ("inside", both),
    ];
    named.map(|(name, value)| (String::from(name), value)).to_vec()
}

fn in_map(inner: Value) -> Value {
    Value::M(vec![(String::from("m"), inner)])
}

/// `times` applications of `wrap` around a text.
fn nested(times: usize, wrap: impl Fn(Value) -> Value) -> Value {
    (0..times).fold(s("bottom"), |inner, _| wrap(inner))
}

fn odd_names() -> Attributes {
    let names = [
        "name",
        "Name",
        "NAME",
        "name ",
        " name",
        "a.b",
        "a.b.c",
        "tags[0]",
        "a\"b",
        "a'b",
        "a`b",
        "a\\b",
        "with space",
        "#hash",
        ":colon",
        "$dollar",
        "@at",
        "-",
        "0",
        "item",
        "Item",
        "Keys",
        "S",
        "N",
        "NULL",
        "select",
        "\u{e9}",
        "e\u{301}",
        "😀",
        "\0",
        "\n",
        "\u{2028}",
        "\u{200b}",
        "__proto__",
        "rowid",
    ];
    let mut odd: Attributes = names.iter().map(|name| (String::from(*name), s(name))).collect();
    odd.push(("x".repeat(255), s("255 bytes")));
    odd.push(("é".repeat(127) + "y", s("255 bytes, 128 characters")));
    odd
}

/// Maps whose attribute is called like a type tag: a reader that guesses takes them for values.
fn type_lookalikes() -> Attributes {
    let map = |name: &str, value| Value::M(vec![(String::from(name), value)]);
    let named = [
        ("a", map("S", s("x"))),
        ("b", map("N", n("1"))),
        ("c", map("M", map("M", map("S", s("x"))))),
        ("d", map("NULL", Value::Null)),
        ("e", map("L", Value::L(vec![map("S", s("y"))]))),
        ("f", map("Item", map("Item", s("z")))),
    ];
    named.map(|(name, value)| (String::from(name), value)).to_vec()
}

/// Items at DynamoDB's limit on size, less the room for the longest keys. Their lines are 0.4 to 2.8 MB.
fn largest() -> [Case; LARGEST] {
    const ROOM: usize = MAX_ITEM_BYTES - 2048 - 1024 - 64;
    let filled = |name: &'static str, unit: usize, make: &dyn Fn(usize) -> Value| {
        let empty = item_size(&vec![(String::from("big"), make(0))]);
        case(name, vec![(String::from("big"), make((ROOM - empty) / unit))])
    };
    [
        filled("largest text", 10, &|times| Value::S("0123456789".repeat(times))),
        filled("largest text of control characters", 1, &|times| Value::S("\u{1}".repeat(times))),
        filled("largest binary", 4, &|times| Value::B(b"\0\xff\x10\x80".repeat(times))),
        filled("largest list of nulls", 2, &|times| Value::L(vec![Value::Null; times])),
    ]
}
