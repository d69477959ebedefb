//! Which collations merge two different DynamoDB keys into one row, and which three do not.

use super::{attempt, databases};
use crate::support::servers::{Kind, execute};

/// Pairs of keys that are different in DynamoDB.
const TWINS: [(&str, &str, &str); 7] = [
    ("case", "a", "A"),
    ("accent", "e", "\u{e9}"),
    ("trailing space", "a", "a "),
    ("NFC and NFD", "\u{e9}", "e\u{301}"),
    ("zero-width space", "a", "a\u{200b}"),
    ("NUL", "a", "a\u{0}"),
    ("two emoji", "\u{1f600}", "\u{1f680}"),
];

/// Column type, the servers that know it, and the twins that it merges, in the order of [`TWINS`] (`x` merges).
const TABLE: [(&str, &[Kind], &str); 10] = [
    ("VARCHAR(64) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_ai_ci", &[Kind::MySql], "xx.xxx."),
    ("VARCHAR(64) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_as_cs", &[Kind::MySql], "...xxx."),
    ("VARCHAR(64) CHARACTER SET utf8mb4 COLLATE utf8mb4_general_ci", &[Kind::MySql, Kind::MariaDb], "xxx...x"),
    ("VARCHAR(64) CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_ci", &[Kind::MySql, Kind::MariaDb], "xxxxxxx"),
    ("VARCHAR(64) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin", &[Kind::MySql, Kind::MariaDb], "..x...."),
    ("VARCHAR(64) CHARACTER SET utf8mb4 COLLATE uca1400_ai_ci", &[Kind::MariaDb], "xxxxxx."),
    ("VARCHAR(64) CHARACTER SET utf8mb4 COLLATE uca1400_nopad_as_cs", &[Kind::MariaDb], "...xxx."),
    ("VARCHAR(64) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin", &[Kind::MySql], "......."),
    ("VARCHAR(64) CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin", &[Kind::MariaDb], "......."),
    ("VARBINARY(64)", &[Kind::MySql, Kind::MariaDb], "......."),
];

#[tokio::test]
async fn only_three_key_types_keep_all_twin_keys_apart() {
    for database in databases().await {
        let mut connection = database.connect().await;
        for (column, _, expected) in TABLE.iter().filter(|(_, kinds, _)| kinds.contains(&database.kind)) {
            let mut merged = String::new();
            for (_, first, second) in TWINS {
                let table = format!("DROP TABLE IF EXISTS k; CREATE TABLE k (k {column} PRIMARY KEY)");
                execute(&mut connection, &table).await;
                let mut insert = async |key: &str| {
                    let outcome = sqlx::query("INSERT INTO k VALUES (?)").bind(key).execute(&mut connection).await;
                    outcome.map_err(|error| super::error_number(&error)).err()
                };
                assert_eq!(insert(first).await, None);
                merged.push(match insert(second).await {
                    None => '.',
                    Some(1062) => 'x',
                    Some(other) => panic!("{column}: error {other}"),
                });
            }
            assert_eq!(&merged, expected, "{column} on {:?}, twins: {TWINS:?}", database.kind);
        }
    }
}

#[tokio::test]
async fn insert_if_absent_drops_a_merged_key_without_an_error() {
    for database in databases().await {
        let mut connection = database.connect().await;
        execute(&mut connection, "CREATE TABLE k (k VARCHAR(9) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin PRIMARY KEY)")
            .await;
        for key in ["a", "a "] {
            let insert = format!("INSERT INTO k VALUES ('{key}') ON DUPLICATE KEY UPDATE k = k.k");
            assert!(attempt(&mut connection, &insert).await.is_ok());
        }
        assert_eq!(super::number(&mut connection, "SELECT COUNT(*) FROM k").await, 1);
    }
}
