//! A scenario: the table, its data, who else uses it, what goes wrong. One TOML file each, `fixtures/scenarios/*.toml`.

use super::capacity::Mode;
use serde::Deserialize;
use std::path::Path;
use std::{fs, io};

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Scenario {
    /// What it shows, in a line.
    pub(crate) title: String,
    /// Loads the table instead of scanning it.
    #[serde(default)]
    pub(crate) write: bool,
    /// As typed: `500`, `40%`, `headroom:60%`, `unlimited`.
    pub(crate) budget: String,
    /// Requests under way at most.
    pub(crate) readers: usize,
    /// The run is cut off here, if it has not ended.
    pub(crate) minutes: u64,
    pub(crate) capacity: Capacity,
    pub(crate) data: Data,
    #[serde(default)]
    pub(crate) latency: Latency,
    #[serde(default)]
    pub(crate) foreground: Option<Foreground>,
    #[serde(default)]
    pub(crate) change: Vec<Change>,
    #[serde(default)]
    pub(crate) index: Vec<Index>,
    /// Share of requests whose outcome stays unknown; half of them were served.
    #[serde(default)]
    pub(crate) unknown: f64,
    /// Share of requests that are refused whatever the rate.
    #[serde(default)]
    pub(crate) chance: f64,
    /// Throttles come without reasons.
    #[serde(default)]
    pub(crate) silent: bool,
    /// Bounds that cannot be met here, each with the cause; they are measured all the same.
    #[serde(default)]
    pub(crate) beyond: Vec<Beyond>,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Capacity {
    pub(crate) provisioned: Option<f64>,
    pub(crate) warm: Option<f64>,
    pub(crate) max: Option<f64>,
    /// The account's quota for the table.
    pub(crate) account: Option<f64>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Data {
    /// Scan segments, or lanes of a load.
    pub(crate) segments: u32,
    /// Mean item.
    pub(crate) item_bytes: f64,
    /// How many items.
    pub(crate) items: f64,
    /// One item in a hundred is of 400 KB.
    #[serde(default)]
    pub(crate) giants: bool,
    /// Share of the data that lies in one segment.
    #[serde(default)]
    pub(crate) hot: f64,
    /// Share of the segments that hold nothing.
    #[serde(default)]
    pub(crate) empty: f64,
    /// Other segments differ in size: the share of segment n falls as n to this power.
    #[serde(default)]
    pub(crate) skew: f64,
    /// Pages without items in each empty segment: deleted ranges.
    #[serde(default)]
    pub(crate) empty_pages: u32,
    /// Writes go to a key space this wide: less than 1 is a rolling hot partition.
    #[serde(default = "one")]
    pub(crate) key_space: f64,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Latency {
    pub(crate) base_ms: f64,
    pub(crate) unit_us: f64,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Foreground {
    /// Units per second, mean.
    pub(crate) units: f64,
    /// A wave of this share of the mean,
    #[serde(default)]
    pub(crate) wave: f64,
    /// as long as this.
    #[serde(default = "one")]
    pub(crate) wave_minutes: f64,
    /// From second to second it differs by this share.
    #[serde(default)]
    pub(crate) noise: f64,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Change {
    pub(crate) minute: f64,
    pub(crate) provisioned: Option<f64>,
    pub(crate) foreground: Option<f64>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Index {
    pub(crate) name: String,
    pub(crate) provisioned: f64,
    /// Units for each unit of the table.
    pub(crate) ratio: f64,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Beyond {
    pub(crate) bound: Bound,
    pub(crate) cause: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Bound {
    Use,
    Throttled,
    Peak,
    Foreground,
    Time,
}

impl Default for Latency {
    /// A full page of 128 units takes 34 ms.
    fn default() -> Self {
        Latency { base_ms: 8.0, unit_us: 200.0 }
    }
}

fn one() -> f64 {
    1.0
}

impl Capacity {
    pub(crate) fn mode(&self) -> Mode {
        match self.provisioned {
            Some(rate) => Mode::Provisioned(rate),
            None => Mode::OnDemand { warm: self.warm.unwrap_or(12_000.0), max: self.max },
        }
    }
}

impl Scenario {
    /// All scenarios of a folder by name, in order.
    pub(crate) fn all(folder: &Path) -> io::Result<Vec<(String, Scenario)>> {
        let mut scenarios = Vec::new();
        for entry in fs::read_dir(folder)? {
            let path = entry?.path();
            if path.extension().is_some_and(|extension| extension == "toml") {
                let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
                let scenario = toml::from_str(&fs::read_to_string(&path)?)
                    .map_err(|error| io::Error::other(format!("{}: {error}", path.display())))?;
                scenarios.push((name, scenario));
            }
        }
        scenarios.sort_by(|a, b| a.0.cmp(&b.0));
        Ok(scenarios)
    }

    /// Why a bound cannot be met here.
    pub(crate) fn beyond(&self, bound: Bound) -> Option<&str> {
        self.beyond.iter().find(|beyond| beyond.bound == bound).map(|beyond| beyond.cause.as_str())
    }
}
