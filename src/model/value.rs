//! A DynamoDB item and its values, borrowed from a decoded line: no tree is built, nothing is copied.
//!
//! An [`Item`] and everything reached from it is valid by construction: [`decode`](super::decode) has walked the
//! whole line once and refused anything that is not DynamoDB JSON, so the views here cannot fail. Numbers stay text,
//! binaries stay base64 text: converting is the mapping's business.

use simd_json::{Node, StaticNode};

/// An item: its attributes, borrowed from the decoded line.
#[derive(Clone, Copy, Debug)]
pub struct Item<'a> {
    map: Map<'a>,
}

impl<'a> Item<'a> {
    /// The item whose attribute map is the object at `at`. Only for [`decode`](super::decode), after validation.
    pub(super) fn new(nodes: &'a [Node<'a>], at: usize) -> Self {
        Item { map: Map { nodes, at } }
    }

    /// The attributes, in the order of the line.
    #[must_use]
    pub fn attributes(&self) -> Map<'a> {
        self.map
    }

    /// The attribute called `name`: a linear search, for tests and rare paths.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<Value<'a>> {
        self.map.get(name)
    }
}

/// One value: a type tag and a payload.
#[derive(Clone, Copy, Debug)]
pub enum Value<'a> {
    /// String.
    S(&'a str),
    /// Number, as the text that DynamoDB wrote; see [`Number`](super::number::Number).
    N(&'a str),
    /// Binary, as base64 text (standard alphabet, padded, checked).
    B(&'a str),
    /// Boolean.
    Bool(bool),
    /// Null.
    Null,
    /// Map.
    M(Map<'a>),
    /// List.
    L(List<'a>),
    /// Set of strings.
    Ss(Strings<'a>),
    /// Set of numbers, as texts.
    Ns(Strings<'a>),
    /// Set of binaries, as base64 texts.
    Bs(Strings<'a>),
}

impl<'a> Value<'a> {
    /// The value whose `{"TAG":payload}` object is at `at`. Only for validated nodes.
    fn at(nodes: &'a [Node<'a>], at: usize) -> Self {
        let Some(Node::String(tag)) = nodes.get(at + 1) else { return Value::Null };
        let payload = at + 2;
        match (*tag, nodes.get(payload)) {
            ("S", Some(Node::String(text))) => Value::S(text),
            ("N", Some(Node::String(text))) => Value::N(text),
            ("B", Some(Node::String(text))) => Value::B(text),
            ("BOOL", Some(Node::Static(StaticNode::Bool(value)))) => Value::Bool(*value),
            ("M", _) => Value::M(Map { nodes, at: payload }),
            ("L", _) => Value::L(List { nodes, at: payload }),
            ("SS", _) => Value::Ss(Strings::at(nodes, payload)),
            ("NS", _) => Value::Ns(Strings::at(nodes, payload)),
            ("BS", _) => Value::Bs(Strings::at(nodes, payload)),
            _ => Value::Null,
        }
    }

    /// The type tag as DynamoDB JSON writes it: `S`, `N`, `B`, `BOOL`, `NULL`, `M`, `L`, `SS`, `NS`, `BS`.
    #[must_use]
    pub fn tag(&self) -> &'static str {
        match self {
            Value::S(_) => "S",
            Value::N(_) => "N",
            Value::B(_) => "B",
            Value::Bool(_) => "BOOL",
            Value::Null => "NULL",
            Value::M(_) => "M",
            Value::L(_) => "L",
            Value::Ss(_) => "SS",
            Value::Ns(_) => "NS",
            Value::Bs(_) => "BS",
        }
    }
}

/// Attribute names and values, in the order of the line.
#[derive(Clone, Copy, Debug)]
pub struct Map<'a> {
    nodes: &'a [Node<'a>],
    at: usize,
}

impl<'a> Map<'a> {
    /// How many attributes there are.
    #[must_use]
    pub fn len(&self) -> usize {
        length(self.nodes, self.at)
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The value called `name`.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<Value<'a>> {
        self.iter().find(|(key, _)| *key == name).map(|(_, value)| value)
    }

    /// Names and values, in the order of the line.
    #[must_use]
    pub fn iter(&self) -> MapIter<'a> {
        MapIter { nodes: self.nodes, next: self.at + 1, left: self.len() }
    }
}

/// Iterates over a [`Map`].
#[derive(Clone, Debug)]
pub struct MapIter<'a> {
    nodes: &'a [Node<'a>],
    next: usize,
    left: usize,
}

impl<'a> Iterator for MapIter<'a> {
    type Item = (&'a str, Value<'a>);

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        if self.left == 0 {
            return None;
        }
        let Some(Node::String(name)) = self.nodes.get(self.next) else { return None };
        let value = self.next + 1;
        self.left -= 1;
        self.next = after(self.nodes, value);
        Some((name, Value::at(self.nodes, value)))
    }
}

/// The elements of a list, in order.
#[derive(Clone, Copy, Debug)]
pub struct List<'a> {
    nodes: &'a [Node<'a>],
    at: usize,
}

impl<'a> List<'a> {
    /// How many elements there are.
    #[must_use]
    pub fn len(&self) -> usize {
        length(self.nodes, self.at)
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The elements, in order.
    pub fn iter(&self) -> impl Iterator<Item = Value<'a>> + use<'a> {
        let nodes = self.nodes;
        let mut next = self.at + 1;
        (0..self.len()).map(move |_| {
            let value = Value::at(nodes, next);
            next = after(nodes, next);
            value
        })
    }
}

/// The members of a set, in the order of the line, which means nothing.
#[derive(Clone, Copy, Debug)]
pub struct Strings<'a> {
    nodes: &'a [Node<'a>],
}

impl<'a> Strings<'a> {
    fn at(nodes: &'a [Node<'a>], at: usize) -> Self {
        let members = nodes.get(at + 1..at + 1 + length(nodes, at)).unwrap_or_default();
        Strings { nodes: members }
    }

    /// How many members there are; a valid set has at least one.
    #[must_use]
    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    /// The members.
    pub fn iter(&self) -> impl Iterator<Item = &'a str> + use<'a> {
        self.nodes.iter().filter_map(|node| match node {
            Node::String(text) => Some(*text),
            _ => None,
        })
    }
}

/// How many entries the object or array at `at` has.
fn length(nodes: &[Node<'_>], at: usize) -> usize {
    match nodes.get(at) {
        Some(Node::Object { len, .. } | Node::Array { len, .. }) => *len,
        _ => 0,
    }
}

/// The index just after the value at `at`, whatever it is.
pub(super) fn after(nodes: &[Node<'_>], at: usize) -> usize {
    match nodes.get(at) {
        Some(Node::Object { count, .. } | Node::Array { count, .. }) => at + 1 + count,
        _ => at + 1,
    }
}
