//! The awkward shape: a catalogue of values met with a catalogue of keys, round after round, so that any number of items
//! can be made and the first rounds hold every case.
//!
//! In the first round a key is exactly the catalogue's; later rounds make it distinct with a mark of their own.

use super::awkward_values::{self, Case, LARGEST};
use super::random::plain;
use super::value::{Attributes, Value};

/// The catalogues, made once.
#[derive(Debug)]
pub(crate) struct Awkward {
    cases: Vec<Case>,
    texts: Vec<(String, String)>,
    bytes: Vec<(Vec<u8>, Vec<u8>)>,
    numbers: Vec<String>,
}

/// DynamoDB's limits on key values, in bytes.
const PARTITION_KEY_BYTES: usize = 2048;
const SORT_KEY_BYTES: usize = 1024;

impl Awkward {
    /// Makes the catalogues.
    pub(crate) fn new() -> Self {
        Awkward { cases: awkward_values::cases(), texts: text_keys(), bytes: byte_keys(), numbers: number_keys() }
    }

    /// Item `index`, key `pk` S and `sk` S.
    pub(crate) fn with_text_key(&self, index: u64) -> Attributes {
        let (key, round) = self.place(index, self.texts.len());
        let (mut pk, sk) = self.texts[key].clone();
        if round > 0 {
            let mark = format!("#{round}");
            // from the front: the longest keys differ only at their end
            while pk.len() + mark.len() > PARTITION_KEY_BYTES {
                pk.remove(0);
            }
            pk += &mark;
        }
        self.item(index, Value::S(pk), Value::S(sk))
    }

    /// Item `index`, key `pk` B and `sk` B.
    pub(crate) fn with_binary_key(&self, index: u64) -> Attributes {
        let (key, round) = self.place(index, self.bytes.len());
        let (mut pk, sk) = self.bytes[key].clone();
        if round > 0 {
            pk.truncate(PARTITION_KEY_BYTES - 9);
            pk.push(0xee);
            pk.extend_from_slice(&round.to_be_bytes());
        }
        self.item(index, Value::B(pk), Value::B(sk))
    }

    /// Item `index`, key `pk` N and `sk` N: every pair of the extremes, then whole numbers past all of the small ones.
    pub(crate) fn with_number_key(&self, index: u64) -> Attributes {
        let (pk, rest) = self.place(index, self.numbers.len());
        let beside = usize::try_from(rest).unwrap_or(usize::MAX);
        let sk = self.numbers.get(beside).cloned().unwrap_or_else(|| (1_000_000 + rest).to_string());
        self.item(index, Value::N(self.numbers[pk].clone()), Value::N(sk))
    }

    /// Which entry of a catalogue of `len` item `index` takes, and in which round.
    fn place(&self, index: u64, len: usize) -> (usize, u64) {
        let len = len as u64;
        (usize::try_from(index % len).unwrap_or(0), index / len)
    }

    /// The largest cases come once: else they would be nearly all of an export's bytes.
    fn case(&self, index: u64) -> &Case {
        let first_round = usize::try_from(index).ok().and_then(|index| self.cases.get(index));
        first_round.unwrap_or_else(|| &self.cases[self.place(index, self.cases.len() - LARGEST).0])
    }

    fn item(&self, index: u64, pk: Value, sk: Value) -> Attributes {
        let case = self.case(index);
        let mut item = vec![(String::from("pk"), pk), (String::from("case"), Value::S(String::from(case.name)))];
        item.extend(case.attributes.iter().cloned());
        // the sort key last, after attributes that a reader may want to stop at
        item.push((String::from("sk"), sk));
        item
    }
}

/// Texts that some collation, normalisation or padding rule takes for one another.
const TWINS: &[&str] = &[
    "key",
    "Key",
    "KEY",
    "key ",
    "key  ",
    " key",
    "key\t",
    "key\0",
    "ke\0y",
    "key\u{200b}",
    "key\u{200d}",
    "key\u{feff}",
    "key\u{ad}",
    "\u{e9}t\u{e9}",
    "e\u{301}te\u{301}",
    "ete",
    "ÉTÉ",
    "straße",
    "strasse",
    "STRASSE",
    "straẞe",
    "ﬁn",
    "fin",
    "I",
    "ı",
    "i",
    "İ",
    "Å",
    "\u{212b}",
    "A\u{30a}",
    "ö",
    "o\u{308}",
    "😀",
    "😁",
    "👩\u{200d}👩\u{200d}👧",
    "👩👩👧",
    "か",
    "カ",
    "ｶ",
    "か\u{3099}",
    "が",
    "1",
    "１",
    "①",
    "01",
    "1.0",
    "a/b",
    "a\\b",
    "a'b",
    "a\"b",
    "a`b",
    "a%b",
    "a_b",
    "%",
    "_",
    "'",
    "\"",
    "\\",
    "\\0",
    "\\'",
    "--",
    ";",
    "\0",
    "\u{1}",
    "\u{1f}",
    "\u{7f}",
    "\u{80}",
    "\u{2028}",
    "\u{ffff}",
    "\u{10ffff}",
    " ",
    "  ",
    "\n",
    "\r\n",
    "null",
    "NULL",
    "true",
    "CUST#1",
    "{\"S\":\"x\"}",
];

/// Each twin as sort key and as partition key, and the longest keys that are allowed.
fn text_keys() -> Vec<(String, String)> {
    let mut keys = Vec::new();
    for twin in TWINS {
        keys.push((String::from("twins"), String::from(*twin)));
    }
    for twin in TWINS {
        keys.push((String::from(*twin), String::from("0")));
    }
    let longest = |unit: &str, bytes: usize| unit.repeat(bytes / unit.len());
    keys.push((longest("p", PARTITION_KEY_BYTES), longest("s", SORT_KEY_BYTES)));
    keys.push((longest("p", PARTITION_KEY_BYTES), longest("s", SORT_KEY_BYTES - 1)));
    keys.push((longest("p", PARTITION_KEY_BYTES - 1) + "q", longest("s", SORT_KEY_BYTES)));
    keys.push((longest("😀", PARTITION_KEY_BYTES), longest("é", SORT_KEY_BYTES)));
    keys.push((longest("\0", PARTITION_KEY_BYTES), longest("\\", SORT_KEY_BYTES)));
    keys
}

fn byte_keys() -> Vec<(Vec<u8>, Vec<u8>)> {
    let parts: [&[u8]; 16] = [
        b"\0",
        b"\0\0",
        b"\0\0\0",
        b"\0\x01",
        b"\x01",
        b"a",
        b"A",
        b"a ",
        b"a\0",
        b" ",
        b"\x7f",
        b"\x80",
        b"\xff",
        b"\xff\xff",
        b"\xc3\xa9",
        b"\xc3",
    ];
    let mut keys = Vec::new();
    for part in parts {
        keys.push((b"twins".to_vec(), part.to_vec()));
        keys.push((part.to_vec(), b"0".to_vec()));
        // the same bytes in all, cut elsewhere
        keys.push(([b"cut", part].concat(), b"tail".to_vec()));
        keys.push((b"cut".to_vec(), [part, b"tail"].concat()));
    }
    let all: Vec<u8> = (0..=255).collect();
    keys.push((all.repeat(8), all.repeat(4)));
    keys.push((vec![0; PARTITION_KEY_BYTES], vec![0; SORT_KEY_BYTES]));
    keys.push((vec![0xff; PARTITION_KEY_BYTES], vec![0xff; SORT_KEY_BYTES]));
    keys
}

/// Distinct numbers as DynamoDB prints them, from one end of its range to the other.
fn number_keys() -> Vec<String> {
    let positive = extremes();
    let negative = positive.iter().map(|number| format!("-{number}"));
    std::iter::once(String::from("0")).chain(positive.iter().cloned()).chain(negative).collect()
}

/// Positive numbers at every edge: the range's ends, 38 digits, a digit more or less, integers past 2^53 and 2^63.
pub(crate) fn extremes() -> Vec<String> {
    let nines = "9".repeat(38);
    let mut numbers: Vec<String> = [
        "1",
        "2",
        "9",
        "10",
        "11",
        "99",
        "100",
        "101",
        "0.1",
        "0.01",
        "0.5",
        "1.5",
        "1.05",
        "2147483647",
        "2147483648",
        "9007199254740993",
        "9223372036854775807",
        "9223372036854775808",
        "18446744073709551615",
        "18446744073709551616",
        "12345678901234567890123456789012345678",
        "0.3",
        "0.30000000000000004",
        "1.0000000000000000000000000000000000001",
        "1234567890123456789.0123456789012345678",
    ]
    .map(String::from)
    .to_vec();
    numbers.extend([
        plain("1", 126),
        plain(&nines, 126),
        plain("1", -129),
        plain("1", -128),
        plain(&nines, 38),
        plain(&nines, 0),
    ]);
    numbers
}
