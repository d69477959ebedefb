//! Captures and lineages over random trees of shards, listed late and in parts, against what must be read of them.

use super::capture::Capture;
use super::hand_over::HandOver;
use super::lineage::Lineage;
use super::tree::Tree;
use crate::driver::streams::ShardDescription;
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};

/// A stream as it will have been: each shard's parent, by position; a parent comes before its children.
#[derive(Clone, Debug)]
struct Story {
    parents: Vec<Option<usize>>,
    /// The shards that the listing shows at the capture; a child only if its parent is shown.
    shown: BTreeSet<usize>,
    /// Which of the shards that are not shown yet the next listing shows, and which of those that can be read is read.
    choices: Vec<u16>,
}

impl Story {
    fn id(&self, at: usize) -> String {
        // ids do not tell the order
        format!("shard-{:02}-{at}", at * 37 % 100)
    }

    fn tree(&self) -> Tree {
        let describe = |at: &usize| ShardDescription {
            id: self.id(*at),
            // the first shards continue some that were forgotten long ago
            parent: Some(self.parents[*at].map_or_else(|| "forgotten".to_owned(), |parent| self.id(parent))),
            start: Some(at.to_string()),
        };
        Tree::new(self.shown.iter().map(describe).collect())
    }

    /// Whether some shard continues this one, listed or not.
    fn is_closed(&self, at: usize) -> bool {
        self.parents.contains(&Some(at))
    }
}

fn stories() -> impl Strategy<Value = Story> {
    let links = prop::collection::vec((any::<u16>(), 0_u8..8), 1..24);
    (links, prop::collection::vec(any::<u16>(), 64)).prop_map(|(links, choices)| {
        let (mut parents, mut shown) = (Vec::new(), BTreeSet::new());
        for (at, (link, kind)) in links.into_iter().enumerate() {
            let parent = (at > 0 && kind > 0).then(|| usize::from(link) % at);
            parents.push(parent);
            if kind < 6 && parent.is_none_or(|parent| shown.contains(&parent)) {
                shown.insert(at);
            }
        }
        Story { parents, shown, choices }
    })
}

proptest! {
    #[test]
    fn every_shard_is_read_by_one_lineage_after_its_parents_end(mut story in stories()) {
        let Ok(capture) = Capture::of_leaves("stream", &story.tree(), 7) else { return Ok(()) };
        prop_assert_eq!(&Capture::parse(&capture.text().unwrap()).unwrap(), &capture);
        let listed = story.shown.clone();
        let ids: BTreeMap<String, usize> = (0..story.parents.len()).map(|at| (story.id(at), at)).collect();
        let mut lineages: Vec<Lineage> =
            (0..).zip(&capture.lineages).map(|(unit, _)| Lineage::begin(&capture, unit).unwrap()).collect();
        let (mut readers, mut ended) = (BTreeMap::<usize, u32>::new(), BTreeSet::new());
        let mut choices = story.choices.clone().into_iter();
        loop {
            // one more shard is listed, its parent first
            let hidden = (0..story.parents.len()).find(|at| {
                !story.shown.contains(at) && story.parents[*at].is_none_or(|parent| story.shown.contains(&parent))
            });
            // a shard without a parent that is listed late has come from nowhere, which no stream does
            let choice = choices.next();
            if let Some(at) = hidden.filter(|_| choice.is_none_or(|choice| choice % 3 == 0)) {
                story.shown.insert(at);
            }
            let tree = story.tree();
            for (unit, lineage) in (0..).zip(lineages.iter_mut()) {
                lineage.grow(&tree, &capture, unit, 9);
                let text = lineage.text().unwrap();
                prop_assert_eq!(&Lineage::parse(&text).unwrap(), &*lineage);
                for (id, position) in lineage.reading() {
                    let at = ids[id];
                    let start = at.to_string();
                    prop_assert_eq!(position.start.as_ref(), Some(&start));
                    prop_assert_eq!(*readers.entry(at).or_insert(unit), unit, "one lineage");
                    prop_assert!(!ended.contains(&at), "read once");
                    let parent = story.parents[at].filter(|parent| readers.contains_key(parent));
                    prop_assert!(parent.is_none_or(|parent| ended.contains(&parent)), "{} before its parent's end", at);
                }
            }
            let closed: Vec<(usize, String)> = lineages.iter().enumerate()
                .flat_map(|(unit, lineage)| lineage.reading().map(move |(id, _)| (unit, id.to_owned())))
                .filter(|(_, id)| story.is_closed(ids[id])).collect();
            if closed.is_empty() && story.shown.len() == story.parents.len() {
                break;
            }
            if !closed.is_empty() {
                let (unit, id) = &closed[usize::from(choice.unwrap_or(0)) % closed.len()];
                lineages[*unit].end(id, None);
                ended.insert(ids[id]);
            }
        }
        // what must be read: the leaves of the capture, and whatever was not listed then and continues something
        let leaves = listed.iter().filter(|at| !listed.iter().any(|other| story.parents[*other] == Some(**at)));
        let mut nowhere = BTreeSet::new();
        for at in 0..story.parents.len() {
            let lost = story.parents[at].map_or(!listed.contains(&at), |parent| nowhere.contains(&parent));
            if lost && !listed.contains(&at) {
                nowhere.insert(at);
            }
        }
        let late = (0..story.parents.len()).filter(|at| !listed.contains(at) && !nowhere.contains(at));
        let must: BTreeSet<usize> = leaves.copied().chain(late).collect();
        prop_assert_eq!(readers.keys().copied().collect::<BTreeSet<_>>(), must);
    }

    #[test]
    fn from_the_horizon_every_listed_shard_is_read(mut story in stories()) {
        let Ok(capture) = Capture::of_horizon("stream", &story.tree(), 7) else { return Ok(()) };
        story.shown = (0..story.parents.len()).filter(|at| story.shown.contains(at)).collect();
        let (tree, mut read) = (story.tree(), BTreeSet::new());
        for (unit, _) in (0..).zip(&capture.lineages) {
            let mut lineage = Lineage::begin(&capture, unit).unwrap();
            loop {
                let next = lineage.reading().next().map(|(id, _)| id.to_owned());
                let Some(id) = next else { break };
                prop_assert!(read.insert(id.clone()), "read once");
                lineage.end(&id, None);
                lineage.grow(&tree, &capture, unit, 9);
            }
        }
        prop_assert_eq!(read.len(), tree.len());
    }
}

#[test]
fn what_was_read_to_its_end_is_remembered_while_a_child_may_turn_up() {
    let shard = |id: &str, parent: Option<&str>| ShardDescription {
        id: id.to_owned(),
        parent: parent.map(str::to_owned),
        start: None,
    };
    let capture = Capture::of_leaves("stream", &Tree::new(vec![shard("a", None)]), 100).unwrap();
    let mut lineage = Lineage::begin(&capture, 0).unwrap();
    lineage.read("a", "17", 120);
    assert_eq!(lineage.position("a").map(|at| (at.read.as_deref(), at.since)), Some((Some("17"), 120)));
    lineage.end("a", Some(200));
    let alone = Tree::new(vec![shard("a", None)]);
    assert!(!lineage.grow(&alone, &capture, 0, 300) && lineage.awaits(&alone));
    // the parent is not listed any more when the second child turns up
    let one = Tree::new(vec![shard("a", None), shard("b", Some("a"))]);
    assert!(lineage.grow(&one, &capture, 0, 400) && !lineage.awaits(&one));
    let both = Tree::new(vec![shard("b", Some("a")), shard("c", Some("a"))]);
    assert!(lineage.grow(&both, &capture, 0, 100_000));
    // their changes may be as old as the last moment at which their parent had nothing more
    assert_eq!(lineage.reading().map(|(id, at)| (id, at.since)).collect::<Vec<_>>(), [("b", 200), ("c", 200)]);
    lineage.end("b", Some(100_000));
    // long forgotten, and no longer of use
    let later = Tree::new(vec![shard("c", Some("a"))]);
    lineage.grow(&later, &capture, 0, 400_000);
    assert_eq!(lineage.text().unwrap().matches("\"b\"").count() + lineage.text().unwrap().matches("\"a\"").count(), 0);
}

#[test]
fn a_stream_without_shards_or_with_a_circle_is_not_captured() {
    assert!(Capture::of_leaves("stream", &Tree::default(), 1).is_err());
    let circle = ["a", "b"].map(|id| ShardDescription {
        id: id.to_owned(),
        parent: Some(if id == "a" { "b" } else { "a" }.to_owned()),
        start: None,
    });
    assert!(Capture::of_leaves("stream", &Tree::new(circle.to_vec()), 1).is_err());
}

#[test]
fn what_continues_a_forgotten_shard_is_found_where_a_stream_joins_on() {
    let shard = |id: &str, parent: &str| ShardDescription {
        id: id.into(),
        parent: Some(parent.into()),
        start: Some("7".into()),
    };
    let [first, second, third] = [shard("a", "forgotten"), shard("b", "a"), shard("c", "b")];
    let hand_over = HandOver { copy: 1, from: 5 };
    let whole = Tree::new(vec![first, second, third.clone()]);
    let capture = Capture::joining("stream", &whole, 7, hand_over).unwrap();
    assert_eq!(Capture::parse(&capture.text().unwrap()).unwrap(), capture);
    let mut lineage = Lineage::begin(&capture, 0).unwrap();
    let reads = |lineage: &Lineage| lineage.reading().map(|(id, at)| (id.to_owned(), at.since)).collect::<Vec<_>>();
    // the first two are forgotten before they are read, and a new shard is listed
    let later = Tree::new(vec![third, shard("d", "c")]);
    for expected in [("a", 5), ("b", 5), ("c", 5), ("d", 9)] {
        lineage.grow(&later, &capture, 0, 9);
        assert_eq!(reads(&lineage), [(expected.0.to_owned(), expected.1)]);
        lineage.end(expected.0, Some(9));
    }
}
