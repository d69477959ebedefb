//! JSON's grammar, walked over bytes without building anything: where a value ends, and the members of an object.
//!
//! Promises: accepts what RFC 8259 accepts, down to a fixed depth; no allocation. What a number or an escaped surrogate
//! means is left to whoever reads the value. Must not know: DynamoDB.

use std::fmt;

/// The deepest nesting: DynamoDB's 32 levels take two each, and the answer a few more.
const DEPTH_MAX: u32 = 128;

/// Bytes that are not what they should be. Says where, never what stands there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed {
    at: usize,
    expected: &'static str,
}

impl Malformed {
    /// At byte `at`, where `expected` should stand.
    #[must_use]
    pub fn new(at: usize, expected: &'static str) -> Malformed {
        Malformed { at, expected }
    }
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "byte {} of the answer is not {}", self.at, self.expected)
    }
}

/// The members of an object, one after the other. The caller says where each value ends.
#[derive(Debug)]
pub struct Members<'a> {
    json: &'a [u8],
    at: usize,
    first: bool,
}

impl<'a> Members<'a> {
    /// The members of the object that is all of `json`.
    ///
    /// # Errors
    /// `Malformed` when it is no object.
    pub fn open(json: &'a [u8]) -> Result<Members<'a>, Malformed> {
        let at = skip_space(json, 0);
        if json.get(at) != Some(&b'{') {
            return Err(Malformed::new(at, "an object"));
        }
        Ok(Members { json, at: at + 1, first: true })
    }

    /// The next member: its name as it is written, and where its value begins; none when the object ended, and `json`
    /// with it.
    ///
    /// # Errors
    /// `Malformed` as the grammar has it.
    pub fn next_member(&mut self) -> Result<Option<(&'a [u8], usize)>, Malformed> {
        let mut at = skip_space(self.json, self.at);
        match self.json.get(at) {
            Some(b'}') => return self.end(at + 1),
            Some(b',') if !self.first => at = skip_space(self.json, at + 1),
            _ if self.first => {}
            _ => return Err(Malformed::new(at, "`,` or `}`")),
        }
        self.first = false;
        let value = member_value(self.json, at)?;
        // the name is written between the quotes: what follows it up to the value is a quote, a colon and space
        let end = skip_string(self.json, at)?;
        Ok(Some((self.json.get(at + 1..end - 1).unwrap_or_default(), value)))
    }

    /// Goes on after the value that ends at `end`.
    pub fn resume(&mut self, end: usize) {
        self.at = end;
    }

    fn end(&self, at: usize) -> Result<Option<(&'a [u8], usize)>, Malformed> {
        let at = skip_space(self.json, at);
        if at == self.json.len() { Ok(None) } else { Err(Malformed::new(at, "the end")) }
    }
}

/// The next place at or after `at` that is no space.
pub fn skip_space(json: &[u8], mut at: usize) -> usize {
    while let Some(b' ' | b'\n' | b'\r' | b'\t') = json.get(at) {
        at += 1;
    }
    at
}

/// The place after the value that begins at `at`.
///
/// # Errors
/// `Malformed` as the grammar has it.
pub fn skip_value(json: &[u8], mut at: usize) -> Result<usize, Malformed> {
    let mut nest = Nest::default();
    loop {
        match json.get(at) {
            Some(b'"') => at = skip_string(json, at)?,
            Some(b'{') => {
                let inner = skip_space(json, at + 1);
                if json.get(inner) == Some(&b'}') {
                    at = inner + 1;
                } else {
                    nest.enter(true, at)?;
                    at = member_value(json, inner)?;
                    continue;
                }
            }
            Some(b'[') => {
                let inner = skip_space(json, at + 1);
                if json.get(inner) == Some(&b']') {
                    at = inner + 1;
                } else {
                    nest.enter(false, at)?;
                    at = inner;
                    continue;
                }
            }
            _ => at = skip_scalar(json, at)?,
        }
        // a value ended: close what ends with it, then go to the next
        loop {
            if nest.depth == 0 {
                return Ok(at);
            }
            at = skip_space(json, at);
            match json.get(at) {
                Some(b',') => {
                    at = skip_space(json, at + 1);
                    if nest.in_object() {
                        at = member_value(json, at)?;
                    }
                    break;
                }
                Some(b'}') if nest.in_object() => nest.leave(),
                Some(b']') if !nest.in_object() => nest.leave(),
                _ => return Err(Malformed::new(at, "`,` or the end of its list or object")),
            }
            at += 1;
        }
    }
}

/// What is open: one bit a level, set for an object.
#[derive(Default)]
struct Nest {
    depth: u32,
    objects: u128,
}

impl Nest {
    fn enter(&mut self, object: bool, at: usize) -> Result<(), Malformed> {
        if self.depth == DEPTH_MAX {
            return Err(Malformed::new(at, "a value nested less deeply"));
        }
        self.depth += 1;
        self.objects = self.objects << 1 | u128::from(object);
        Ok(())
    }

    fn leave(&mut self) {
        self.depth -= 1;
        self.objects >>= 1;
    }

    fn in_object(&self) -> bool {
        self.objects & 1 == 1
    }
}

/// Where the value of the member whose name begins at `at` begins.
fn member_value(json: &[u8], at: usize) -> Result<usize, Malformed> {
    if json.get(at) != Some(&b'"') {
        return Err(Malformed::new(at, "a name"));
    }
    let mut at = skip_string(json, at)?;
    if json.get(at) != Some(&b':') {
        at = skip_space(json, at);
        if json.get(at) != Some(&b':') {
            return Err(Malformed::new(at, "`:`"));
        }
    }
    Ok(skip_space(json, at + 1))
}

/// The place after the string whose opening quote is at `at`.
fn skip_string(json: &[u8], at: usize) -> Result<usize, Malformed> {
    let mut at = at + 1;
    loop {
        at += plain(json.get(at..).unwrap_or_default());
        match json.get(at) {
            Some(b'"') => return Ok(at + 1),
            Some(b'\\') => at = skip_escape(json, at)?,
            Some(byte) if *byte >= 0x20 => at += 1,
            _ => return Err(Malformed::new(at, "within a string")),
        }
    }
}

/// How many bytes, eight at a time, are neither a quote, nor a backslash, nor a control character. May stop early.
fn plain(bytes: &[u8]) -> usize {
    const ONES: u64 = u64::MAX / 0xff;
    const HIGHS: u64 = ONES * 0x80;
    let (chunks, _) = bytes.as_chunks::<8>();
    for (number, chunk) in chunks.iter().enumerate() {
        let word = u64::from_le_bytes(*chunk);
        let quotes = word ^ (ONES * u64::from(b'"'));
        let backslashes = word ^ (ONES * u64::from(b'\\'));
        // the lowest high bit that comes out set is right: a borrow only goes upwards
        let found = (quotes.wrapping_sub(ONES) & !quotes
            | backslashes.wrapping_sub(ONES) & !backslashes
            | word.wrapping_sub(ONES * 0x20) & !word)
            & HIGHS;
        if found != 0 {
            return number * 8 + found.trailing_zeros() as usize / 8;
        }
    }
    chunks.len() * 8
}

/// The place after the escape whose backslash is at `at`.
fn skip_escape(json: &[u8], at: usize) -> Result<usize, Malformed> {
    match json.get(at + 1) {
        Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => Ok(at + 2),
        Some(b'u') if json.get(at + 2..at + 6).is_some_and(|hex| hex.iter().all(u8::is_ascii_hexdigit)) => Ok(at + 6),
        _ => Err(Malformed::new(at, "an escape")),
    }
}

/// The place after the number or literal at `at`.
fn skip_scalar(json: &[u8], at: usize) -> Result<usize, Malformed> {
    let rest = json.get(at..).unwrap_or_default();
    for literal in ["true", "false", "null"] {
        if rest.starts_with(literal.as_bytes()) {
            return Ok(at + literal.len());
        }
    }
    let digits = |from: usize| rest.iter().skip(from).take_while(|byte| byte.is_ascii_digit()).count();
    let whole = usize::from(rest.first() == Some(&b'-'));
    let mut end = whole + if rest.get(whole) == Some(&b'0') { 1 } else { digits(whole) };
    let mut sound = end > whole;
    if rest.get(end) == Some(&b'.') {
        let fraction = digits(end + 1);
        sound &= fraction > 0;
        end += 1 + fraction;
    }
    if let Some(b'e' | b'E') = rest.get(end) {
        end += 1 + usize::from(matches!(rest.get(end + 1), Some(b'+' | b'-')));
        let exponent = digits(end);
        sound &= exponent > 0;
        end += exponent;
    }
    if sound { Ok(at + end) } else { Err(Malformed::new(at, "a value")) }
}
