//! The loop without servers: sides, docket and mender are scripts.

use super::*;
use crate::mapping::{Column, ColumnType};
use crate::model::counts::KeyCell;
use crate::model::rows::Rows;
use crate::monitor::Monitors;
use crate::verify::sides::Row;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

fn row(value: u8) -> Row {
    let mut rows = Rows::new(1);
    rows.int(i64::from(value));
    rows.end_row(0);
    Row { rows: Arc::new(rows), at: 0, digest: Digest::from([value; 16]) }
}

fn seen(source: Option<u8>, target: Option<u8>) -> Look {
    let differing = if source.is_some() && target.is_some() && source != target { vec![0] } else { Vec::new() };
    Look::Seen(Seen { source: source.map(row), target: target.map(row), differing })
}

/// What one key shows, look by look; the last look stays.
struct Script(Mutex<VecDeque<Look>>);

impl Script {
    fn of(looks: impl IntoIterator<Item = Look>) -> Script {
        Script(Mutex::new(looks.into_iter().collect()))
    }
}

impl Sides for Script {
    fn expect(&self, _: &[&Candidate]) {}

    fn look<'a>(&'a self, candidates: &'a [&'a Candidate]) -> BoxFuture<'a, Result<Vec<Look>>> {
        let mut looks = self.0.lock().unwrap();
        let next = |_| if looks.len() > 1 { looks.pop_front().unwrap() } else { looks[0].clone() };
        let shown = candidates.iter().map(next).collect();
        Box::pin(async move { Ok(shown) })
    }
}

/// Notes every judgement.
struct Paper {
    now: Mutex<Difference>,
    judged: Mutex<Vec<(Verdict, Kind, Detail)>>,
}

impl Paper {
    fn new(detail: Option<Detail>) -> Paper {
        let candidate = Candidate { table: 0, key: vec![KeyCell::Int(1)], kind: Kind::Different, origin: None };
        let id = crate::checkpoint::differences::DifferenceId::of(&candidate).unwrap();
        let detail = detail.and_then(|detail| detail.text());
        let now = Difference { id, candidate, verdict: Verdict::Open, detail };
        Paper { now: Mutex::new(now), judged: Mutex::default() }
    }

    fn verdict(&self) -> Verdict {
        self.now.lock().unwrap().verdict
    }
}

impl Docket for Paper {
    fn open(&self, _: usize) -> BoxFuture<'_, Result<Vec<Difference>>> {
        let now = self.now.lock().unwrap().clone();
        Box::pin(async move { Ok(Some(now).filter(|now| now.verdict == Verdict::Open).into_iter().collect()) })
    }

    fn judge<'a>(&'a self, judgements: &'a [Judgement]) -> BoxFuture<'a, Result<()>> {
        for judgement in judgements {
            let mut now = self.now.lock().unwrap();
            (now.verdict, now.detail) = (judgement.verdict, judgement.detail.clone());
            let detail = Detail::parse(judgement.detail.as_deref());
            self.judged.lock().unwrap().push((judgement.verdict, judgement.kind, detail));
        }
        Box::pin(async { Ok(()) })
    }

    fn reopen(&self) -> BoxFuture<'_, Result<()>> {
        self.now.lock().unwrap().verdict = Verdict::Open;
        Box::pin(async { Ok(()) })
    }
}

/// Says what comes of each mending; notes what it was given.
struct Hand {
    answers: Mutex<VecDeque<Mended>>,
    given: Mutex<Vec<Option<Kind>>>,
}

impl Hand {
    fn of(answers: impl IntoIterator<Item = Mended>) -> Hand {
        Hand { answers: Mutex::new(answers.into_iter().collect()), given: Mutex::default() }
    }
}

impl Mender for Hand {
    fn deletes_extras(&self) -> bool {
        false
    }

    fn at_once(&self) -> usize {
        3
    }

    fn mend<'a>(&'a self, wanted: &'a [Wanted<'a>]) -> BoxFuture<'a, Result<Vec<Mended>>> {
        self.given.lock().unwrap().extend(wanted.iter().map(|one| one.seen.kind()));
        let mut answers = self.answers.lock().unwrap();
        let answer = |_| if answers.len() > 1 { answers.pop_front().unwrap() } else { answers[0].clone() };
        let said = wanted.iter().map(answer).collect();
        Box::pin(async move { Ok(said) })
    }
}

async fn settle(paper: &Paper, script: Script, hand: Option<&Hand>, accounted: Accounted) -> Settled {
    let column = Column { name: "n".into(), ty: ColumnType::Int, nullable: false };
    let tables = [Table { name: "t".into(), columns: vec![column], key: vec![0], indexes: Vec::new() }];
    let settler = Settler {
        docket: paper,
        sides: &script,
        mender: hand.map(|hand| hand as &dyn Mender),
        patience: Patience { pauses: vec![Duration::from_millis(1); 3], rounds: 6 },
        accounted,
        tables: &tables,
        is_items: false,
        show_values: false,
        monitor: &Monitors::default(),
    };
    settler.run(&CancellationToken::new()).await.unwrap()
}

#[tokio::test]
async fn a_difference_that_stays_is_confirmed_with_its_columns_and_its_last_kind() {
    let paper = Paper::new(None);
    let looks = [seen(Some(1), None), seen(Some(1), None), Look::HeldBack, seen(Some(1), Some(2))];
    settle(&paper, Script::of(looks), None, Accounted::new()).await;
    let judged = paper.judged.lock().unwrap().clone();
    assert_eq!(judged.len(), 1);
    assert_eq!((judged[0].0, judged[0].1), (Verdict::Confirmed, Kind::Different));
    assert_eq!(judged[0].2.columns[0].column, "n");
}

#[tokio::test]
async fn a_row_that_was_rejected_is_accounted_for_and_another_item_of_its_key_is_not() {
    let accounted = || Accounted::from([(0, [7; 16])]);
    for (value, verdict) in [(7, Verdict::Rejected), (8, Verdict::Confirmed)] {
        let paper = Paper::new(None);
        settle(&paper, Script::of([seen(Some(value), None)]), None, accounted()).await;
        assert_eq!(paper.verdict(), verdict);
    }
    let paper = Paper::new(None);
    settle(&paper, Script::of([seen(Some(7), Some(8))]), None, accounted()).await;
    assert_eq!(paper.verdict(), Verdict::Confirmed, "there is a row, and a wrong one");
}

#[tokio::test]
async fn what_was_mended_is_looked_at_again_before_it_counts() {
    let (paper, hand) = (Paper::new(None), Hand::of([Mended::Done]));
    let looks = (0..3).map(|_| seen(Some(1), Some(2))).chain([seen(Some(1), Some(1))]);
    settle(&paper, Script::of(looks), Some(&hand), Accounted::new()).await;
    let judged = paper.judged.lock().unwrap().clone();
    assert_eq!((judged.len(), judged[0].0), (1, Verdict::Repaired));
    assert_eq!(judged[0].2.columns.len(), 1, "what it was is kept");
    let (paper, hand) = (Paper::new(None), Hand::of([Mended::Done]));
    settle(&paper, Script::of([seen(Some(1), Some(2))]), Some(&hand), Accounted::new()).await;
    assert_eq!(paper.verdict(), Verdict::Unsettled, "it comes back for ever");
    assert!(hand.given.lock().unwrap().len() > 3);
}

#[tokio::test]
async fn our_own_row_is_taken_back_when_its_item_is_gone_and_no_other_is() {
    let (paper, hand) = (Paper::new(None), Hand::of([Mended::Done]));
    let missing = (0..3).map(|_| seen(Some(1), None));
    let zombie = (0..3).map(|_| seen(None, Some(1)));
    settle(&paper, Script::of(missing.chain(zombie).chain([seen(None, None)])), Some(&hand), Accounted::new()).await;
    assert_eq!(*hand.given.lock().unwrap(), [Some(Kind::Missing), Some(Kind::Extra)]);
    assert_eq!(paper.verdict(), Verdict::Repaired);
    let first = paper.judged.lock().unwrap()[0].clone();
    assert_eq!((first.0, first.2.inserted), (Verdict::Open, Some(Digest::from([1; 16]))), "said before it is done");
    // whoever goes on after a crash knows it from the docket
    let (paper, hand) = (Paper::new(Some(first.2)), Hand::of([Mended::Done]));
    let zombie = (0..3).map(|_| seen(None, Some(1)));
    settle(&paper, Script::of(zombie.chain([seen(None, None)])), Some(&hand), Accounted::new()).await;
    assert_eq!(*hand.given.lock().unwrap(), [Some(Kind::Extra)]);
    let (paper, hand) = (Paper::new(None), Hand::of([Mended::Done]));
    settle(&paper, Script::of([seen(None, Some(1))]), Some(&hand), Accounted::new()).await;
    assert!(hand.given.lock().unwrap().is_empty(), "an extra is left, unless it may be deleted");
    assert_eq!(paper.verdict(), Verdict::Confirmed);
}

#[tokio::test]
async fn a_row_that_the_server_refuses_stays_a_difference_that_says_why() {
    let (paper, hand) = (Paper::new(None), Hand::of([Mended::Refused("error 3819".into())]));
    settle(&paper, Script::of([seen(Some(1), None)]), Some(&hand), Accounted::new()).await;
    let last = paper.judged.lock().unwrap().last().unwrap().clone();
    assert_eq!((last.0, last.2.why.as_deref()), (Verdict::Confirmed, Some("error 3819")));
}

#[tokio::test]
async fn a_stop_leaves_the_candidate_open() {
    let (paper, stop) = (Paper::new(None), CancellationToken::new());
    stop.cancel();
    let script = Script::of([seen(Some(1), None)]);
    let settler = Settler {
        docket: &paper,
        sides: &script,
        mender: None,
        patience: Patience::live(),
        accounted: Accounted::new(),
        tables: &[],
        is_items: false,
        show_values: false,
        monitor: &Monitors::default(),
    };
    assert_eq!(settler.run(&stop).await.unwrap(), Settled::Stopped);
    assert_eq!(paper.verdict(), Verdict::Open);
}
