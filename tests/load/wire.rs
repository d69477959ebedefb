//! The session that loads, met directly: what it sends is what a server stores, and what it tells is what happened.

use crate::support::servers::{BOTH, Database, Kind, execute, shared};
use sqlx::Row as _;
use transvase::driver::fault::FaultKind;
use transvase::driver::session::{Fetched, Session, Statement};
use transvase::driver::target::{Target, Tls};
use transvase::model::rows::{CellRef, Rows};

async fn session(database: &Database) -> Session {
    let mut target = Target::parse(&database.url(), Tls::Auto { ca: Some(database.ca_file.clone()) }).unwrap();
    if let Target::MySql(mysql) = &mut target {
        mysql.password = Some(database.password().to_owned());
    }
    let session = Session::open(&target.loading().unwrap()).await.unwrap();
    assert!(session.loads());
    session
}

const LOAD: &str = "LOAD DATA LOCAL INFILE 'rows' IGNORE INTO TABLE t CHARACTER SET utf8mb4 FIELDS TERMINATED BY '\\t' \
                    ESCAPED BY '\\\\' LINES TERMINATED BY '\\n' (k, v)";

fn rows(values: &[(i64, &str)]) -> Rows {
    let mut rows = Rows::new(2);
    for ((key, value), position) in values.iter().zip(0..) {
        rows.int(*key);
        let append = |out: &mut Vec<u8>| {
            out.extend_from_slice(value.as_bytes());
            Ok::<(), ()>(())
        };
        rows.text(append).unwrap();
        rows.end_row(position);
    }
    rows
}

async fn count(database: &Database, query: &str) -> i64 {
    let text = sqlx::AssertSqlSafe(query.to_owned());
    sqlx::query(text).fetch_one(&mut database.connect().await).await.unwrap().get(0)
}

#[tokio::test]
async fn parameters_of_any_bytes_arrive_as_they_are() {
    let all: Vec<u8> = (0..=255).collect();
    for kind in BOTH {
        let database = shared(kind).database().await;
        let table =
            "CREATE TABLE t (k VARBINARY(300) PRIMARY KEY, b LONGBLOB, n BIGINT, d DOUBLE, v LONGTEXT) CHARSET utf8mb4";
        execute(&mut database.connect().await, table).await;
        let mut session = session(&database).await;
        let insert = Statement::new("INSERT INTO t VALUES (?, ?, ?, ?, ?)".to_owned());
        for key in [&all[..], &[0xff, 0xfe], b"", "é\u{1f600}".as_bytes()] {
            let cells = [
                CellRef::Bytes(key),
                CellRef::Bytes(&all),
                CellRef::Int(-7),
                CellRef::Null,
                CellRef::Text("\u{1f600}".as_bytes()),
            ];
            let done = session.execute(&insert, cells.into_iter()).await.unwrap();
            assert_eq!(done.affected, 1);
            let found = session.fetch("SELECT b, n, d, v FROM t WHERE k = ?", &[CellRef::Bytes(key)]).await.unwrap();
            let text = Fetched::Bytes("\u{1f600}".as_bytes().to_vec());
            assert_eq!(
                found,
                [[Fetched::Bytes(all.clone()), Fetched::Int(-7), Fetched::Null, text]],
                "{kind:?} {key:?}"
            );
        }
        let named = session.fetch_named("SELECT COUNT(*) AS rows_there FROM t").await.unwrap();
        assert_eq!((named[0][0].0.as_str(), named[0][0].1.int()), ("rows_there", Some(4)));
        let twice = [CellRef::Bytes(b""), CellRef::Null, CellRef::Null, CellRef::Null, CellRef::Null];
        let fault = session.execute(&insert, twice.into_iter()).await.unwrap_err();
        assert_eq!((fault.kind, fault.code.as_str()), (FaultKind::Duplicate, "1062"), "{}", fault.message);
    }
}

#[tokio::test]
async fn a_load_tells_what_it_skipped_cut_and_clamped() {
    for kind in BOTH {
        let database = shared(kind).database().await;
        let table = "CREATE TABLE t (k TINYINT PRIMARY KEY, v VARCHAR(3), UNIQUE KEY other (v))";
        execute(&mut database.connect().await, table).await;
        let mut session = session(&database).await;
        let load = Statement::new(LOAD.to_owned());
        let mut told = Vec::new();
        for values in
            [&[(1, "a"), (2, "b")][..], &[(2, "c"), (3, "d")], &[(4, "a")], &[(5, "long")], &[(999, "e")], &[]]
        {
            let rows = rows(values);
            let order: Vec<u32> = (0..u32::try_from(values.len()).unwrap()).collect();
            let loaded = session.load(&load, &rows, &order, &[]).await.unwrap();
            let codes: Vec<u16> = loaded.warnings.iter().map(|warned| warned.code).collect();
            told.push((loaded.records, loaded.written, loaded.skipped, codes));
            for warned in loaded.warnings.iter().filter(|warned| warned.code == 1062) {
                let (primary, other) = (warned.message.ends_with("PRIMARY'"), warned.message.ends_with("other'"));
                assert_eq!((primary, other), (values.len() == 2, values.len() == 1), "{}", warned.message);
            }
        }
        let expected = [
            (2, 2, 0, vec![]),
            (2, 1, 1, vec![1062]),
            (1, 0, 1, vec![1062]),
            (1, 1, 0, vec![1265]),
            (1, 1, 0, vec![1264]),
            (0, 0, 0, vec![]),
        ];
        assert_eq!(told, expected, "{kind:?}");
    }
}

#[tokio::test]
async fn more_warnings_than_a_session_lists_by_itself_are_all_told() {
    for kind in BOTH {
        let database = shared(kind).database().await;
        execute(&mut database.connect().await, "CREATE TABLE t (k INT PRIMARY KEY, v VARCHAR(30))").await;
        let mut session = session(&database).await;
        let load = Statement::new(LOAD.to_owned());
        let values: Vec<(i64, &str)> = (0..65_000).map(|key| (key, "value")).collect();
        let (rows, order): (Rows, Vec<u32>) = (rows(&values), (0..65_000).collect());
        let loaded = session.load(&load, &rows, &order, &[]).await.unwrap();
        assert_eq!((loaded.records, loaded.written, loaded.warnings.len()), (65_000, 65_000, 0), "{kind:?}");
        let loaded = session.load(&load, &rows, &order, &[]).await.unwrap();
        let listed = session.warnings_max().min(65_000);
        assert_eq!((loaded.records, loaded.skipped, loaded.warnings.len()), (65_000, 65_000, listed), "{kind:?}");
        // MySQL lets only an administrator choose
        assert_eq!(session.warnings_max(), if kind == Kind::MySql { 1024 } else { 65_535 });
    }
}

#[tokio::test]
async fn a_load_that_fails_leaves_the_session_in_order_and_a_rollback_undoes_it() {
    for kind in BOTH {
        let database = shared(kind).database().await;
        execute(&mut database.connect().await, "CREATE TABLE t (k INT PRIMARY KEY, v LONGTEXT)").await;
        let mut session = session(&database).await;
        let long = "x".repeat(3_000_000);
        let rows = rows(&[(1, &long), (2, &long), (3, "short")]);
        let nowhere = Statement::new(LOAD.replace("TABLE t", "TABLE nowhere"));
        assert_eq!(session.load(&nowhere, &rows, &[0, 1, 2], &[]).await.unwrap_err().code, "1146");
        session.begin().await.unwrap();
        let loaded = session.load(&Statement::new(LOAD.to_owned()), &rows, &[2, 0, 1], &[]).await.unwrap();
        assert_eq!((loaded.records, loaded.written), (3, 3));
        session.rollback().await.unwrap();
        assert_eq!(count(&database, "SELECT COUNT(*) FROM t").await, 0);
        session.load(&Statement::new(LOAD.to_owned()), &rows, &[2, 0, 1], &[]).await.unwrap();
        assert_eq!(count(&database, "SELECT CAST(SUM(LENGTH(v)) AS SIGNED) FROM t").await, 6_000_005);
    }
}
