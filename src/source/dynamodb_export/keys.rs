//! Where an object of an export may be, given the key that its manifest has. Pure.

/// The folder that AWS puts exports into, below the prefix.
pub(super) const EXPORTS: &str = "AWSDynamoDB";

/// The places to look at, in order, without repeats: as given; under the export's prefix; beside the manifest, for an
/// export that was copied elsewhere and so keeps its old keys. Incremental exports share a data folder, which lies beside
/// those of their manifests.
pub(super) fn candidates(key: &str, prefix: Option<&str>, manifest_folder: &str) -> Vec<String> {
    let mut places = vec![key.to_owned()];
    let mut add = |place: String| {
        if !places.contains(&place) {
            places.push(place);
        }
    };
    if let Some(prefix) = prefix.map(|prefix| prefix.trim_matches('/')).filter(|prefix| !prefix.is_empty()) {
        add(format!("{prefix}/{key}"));
    }
    let mut parts = key.rsplit('/');
    let file = parts.next().unwrap_or(key);
    if parts.next() == Some("data") {
        add(join(manifest_folder, &format!("data/{file}")));
        if parts.next() == Some(EXPORTS) {
            let beside = manifest_folder.rsplit_once('/').map_or("", |(folder, _)| folder);
            add(join(beside, &format!("data/{file}")));
        }
    }
    add(join(manifest_folder, file));
    places
}

/// The key of `name` in `folder`; the folder may be the root.
pub(super) fn join(folder: &str, name: &str) -> String {
    if folder.is_empty() { name.to_owned() } else { format!("{folder}/{name}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_looked_for_as_given_then_under_the_prefix_then_beside_the_manifest() {
        assert_eq!(
            candidates("AWSDynamoDB/01/data/x.json.gz", Some("exports/"), "copy/01"),
            [
                "AWSDynamoDB/01/data/x.json.gz",
                "exports/AWSDynamoDB/01/data/x.json.gz",
                "copy/01/data/x.json.gz",
                "copy/01/x.json.gz"
            ]
        );
        assert_eq!(
            candidates("p/AWSDynamoDB/01/manifest-files.json", None, "p/AWSDynamoDB/01"),
            ["p/AWSDynamoDB/01/manifest-files.json"]
        );
        assert_eq!(candidates("a/data/x", None, ""), ["a/data/x", "data/x", "x"]);
        assert_eq!(
            candidates("p/AWSDynamoDB/data/x", Some("p"), "AWSDynamoDB/01"),
            [
                "p/AWSDynamoDB/data/x",
                "p/p/AWSDynamoDB/data/x",
                "AWSDynamoDB/01/data/x",
                "AWSDynamoDB/data/x",
                "AWSDynamoDB/01/x"
            ],
            "the folder that incremental exports share"
        );
    }
}
