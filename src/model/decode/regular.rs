//! A line as DynamoDB writes it (no space between tokens, plain escapes), read and checked in one pass.
//!
//! Promises: a line that [`parse`] accepts is one that the reference accepts, and the tape is the same, node by node. It
//! says nothing about lines that it does not accept: spaces, `\u` escapes and whatever is wrong are the reference's.

use super::names::Seen;
use super::{MAX_DEPTH, check_base64, check_number};
use crate::model::json::to_be_escaped;
use simd_json::{Node, StaticNode};

/// Appends the nodes of `line` to `nodes`, which is empty; none when the line is not regular, or no item. `unescaped` is at
/// least as long as the line; what it holds does not matter.
pub(super) fn parse<'a>(line: &'a [u8], unescaped: &'a mut [u8], nodes: &mut Vec<Node<'a>>) -> Option<()> {
    let line = std::str::from_utf8(line).ok()?;
    let mut parser = Parser { line, at: 0, unescaped, nodes };
    parser.eat(b"{\"Item\":")?;
    parser.nodes.push(Node::Object { len: 1, count: 0 });
    parser.nodes.push(Node::String("Item"));
    parser.map(0)?;
    parser.eat(b"}")?;
    parser.close_object(0, 1);
    (parser.at == line.len()).then_some(())
}

struct Parser<'a, 'n> {
    line: &'a str,
    /// The next byte to be read.
    at: usize,
    unescaped: &'a mut [u8],
    nodes: &'n mut Vec<Node<'a>>,
}

impl<'a> Parser<'a, '_> {
    #[inline]
    fn rest(&self) -> &'a [u8] {
        self.line.as_bytes().get(self.at..).unwrap_or_default()
    }

    #[inline]
    fn eat(&mut self, wanted: &[u8]) -> Option<()> {
        let found = self.rest().starts_with(wanted);
        self.at += wanted.len();
        found.then_some(())
    }

    /// Whether another element follows, given what ends them.
    #[inline]
    fn more(&mut self, end: u8) -> Option<bool> {
        let byte = *self.rest().first()?;
        self.at += 1;
        if byte == b',' { Some(true) } else { (byte == end).then_some(false) }
    }

    /// Passes over the end of an empty object or array.
    #[inline]
    fn is_empty(&mut self, end: u8) -> bool {
        let empty = self.rest().first() == Some(&end);
        self.at += usize::from(empty);
        empty
    }

    #[inline]
    fn close_object(&mut self, start: usize, len: usize) {
        let count = self.nodes.len() - start - 1;
        self.nodes[start] = Node::Object { len, count };
    }

    #[inline]
    fn close_array(&mut self, start: usize, len: usize) {
        let count = self.nodes.len() - start - 1;
        self.nodes[start] = Node::Array { len, count };
    }

    /// `{"name":{…},…}`, all of it.
    fn map(&mut self, depth: usize) -> Option<()> {
        self.eat(b"{")?;
        let start = self.nodes.len();
        self.nodes.push(Node::Object { len: 0, count: 0 });
        let mut seen = Seen::default();
        let mut len = 0;
        let mut more = !self.is_empty(b'}');
        while more {
            let name = self.string()?;
            if seen.add(name, self.nodes, start, len) {
                return None;
            }
            self.nodes.push(Node::String(name));
            self.eat(b":{\"")?;
            self.tagged(depth)?;
            len += 1;
            more = self.more(b'}')?;
        }
        self.close_object(start, len);
        (!seen.finds_twice(self.nodes, start, len)).then_some(())
    }

    /// `{"TAG":payload}`, after its first two bytes.
    #[inline]
    fn tagged(&mut self, depth: usize) -> Option<()> {
        match self.rest() {
            [b'S', b'"', b':', b'"', ..] => self.scalar("S", |_| true)?,
            [b'N', b'"', b':', b'"', ..] => self.scalar("N", |text| check_number(text).is_ok())?,
            [b'B', b'"', b':', b'"', ..] => self.scalar("B", |text| check_base64(text).is_ok())?,
            _ => {
                let start = self.nodes.len();
                self.nodes.push(Node::Object { len: 1, count: 0 });
                self.other(depth)?;
                self.close_object(start, 1);
            }
        }
        self.eat(b"}")
    }

    /// A scalar's tag and its text.
    #[inline]
    fn scalar(&mut self, tag: &'static str, is_valid: impl Fn(&str) -> bool) -> Option<()> {
        self.at += tag.len() + 3;
        let text = self.text()?;
        self.nodes.extend([Node::Object { len: 1, count: 2 }, Node::String(tag), Node::String(text)]);
        is_valid(text).then_some(())
    }

    /// Any other tag and its payload.
    fn other(&mut self, depth: usize) -> Option<()> {
        let (tag, payload) = self.rest().split_at_checked(self.rest().iter().position(|byte| *byte == b'"')?)?;
        let (tag, bool) = match tag {
            b"BOOL" => ("BOOL", Some(payload.starts_with(b"\":true"))),
            b"NULL" => ("NULL", Some(true)),
            b"M" => ("M", None),
            b"L" => ("L", None),
            b"SS" => ("SS", None),
            b"NS" => ("NS", None),
            b"BS" => ("BS", None),
            _ => return None,
        };
        self.nodes.push(Node::String(tag));
        self.at += tag.len();
        self.eat(b"\":")?;
        if let Some(value) = bool {
            self.nodes.push(Node::Static(StaticNode::Bool(value)));
            return self.eat(if value { b"true" } else { b"false" });
        }
        match tag {
            "M" => self.map(deeper(depth)?),
            "L" => self.list(deeper(depth)?),
            "SS" => self.set(|_| true),
            "NS" => self.set(|text| check_number(text).is_ok()),
            _ => self.set(|text| check_base64(text).is_ok()),
        }
    }

    fn list(&mut self, depth: usize) -> Option<()> {
        self.eat(b"[")?;
        let start = self.nodes.len();
        self.nodes.push(Node::Array { len: 0, count: 0 });
        let mut len = 0;
        let mut more = !self.is_empty(b']');
        while more {
            self.eat(b"{\"")?;
            self.tagged(depth)?;
            len += 1;
            more = self.more(b']')?;
        }
        self.close_array(start, len);
        Some(())
    }

    /// A set has a member at least.
    fn set(&mut self, is_valid: impl Fn(&str) -> bool) -> Option<()> {
        self.eat(b"[")?;
        let start = self.nodes.len();
        self.nodes.push(Node::Array { len: 0, count: 0 });
        let mut len = 0;
        let mut more = true;
        while more {
            let member = self.string()?;
            if !is_valid(member) {
                return None;
            }
            self.nodes.push(Node::String(member));
            len += 1;
            more = self.more(b']')?;
        }
        self.close_array(start, len);
        Some(())
    }

    /// A string, quotes and all.
    #[inline]
    fn string(&mut self) -> Option<&'a str> {
        self.eat(b"\"")?;
        self.text()
    }

    /// A string after its opening quote.
    #[inline]
    fn text(&mut self) -> Option<&'a str> {
        let (start, rest) = (self.at, self.rest());
        let length = to_be_escaped(rest)?;
        if rest.get(length) != Some(&b'"') {
            return self.escaped(length);
        }
        self.at = start + length + 1;
        self.line.get(start..start + length)
    }

    /// A string with escapes, after its opening quote; its first `plain` bytes have none.
    fn escaped(&mut self, mut plain: usize) -> Option<&'a str> {
        let room = std::mem::take(&mut self.unescaped);
        let mut length = 0;
        loop {
            let (run, rest) = self.rest().split_at_checked(plain)?;
            room.get_mut(length..length + plain)?.copy_from_slice(run);
            length += plain;
            self.at += plain + 1;
            let byte = match rest {
                [b'"', ..] => break,
                [b'\\', byte @ (b'"' | b'\\' | b'/'), ..] => *byte,
                [b'\\', b'n', ..] => b'\n',
                [b'\\', b't', ..] => b'\t',
                [b'\\', b'r', ..] => b'\r',
                _ => return None,
            };
            *room.get_mut(length)? = byte;
            length += 1;
            self.at += 1;
            plain = to_be_escaped(self.rest())?;
        }
        let (text, rest) = room.split_at_mut_checked(length)?;
        self.unescaped = rest;
        std::str::from_utf8(text).ok()
    }
}

fn deeper(depth: usize) -> Option<usize> {
    (depth < MAX_DEPTH).then_some(depth + 1)
}

#[cfg(test)]
mod tests;
