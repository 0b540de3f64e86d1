//! The results: progress on standard error, tables on standard output, everything in a JSON file.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde_json::{Value, json};

use crate::server::Kind;

/// Named numbers of one run; the unit is the name's last word.
pub type Metrics = BTreeMap<&'static str, f64>;

/// The runs of one server with one set of parameters.
pub struct Row {
    pub server: &'static str,
    pub parameters: String,
    pub rounds: Vec<Metrics>,
}

pub struct Section {
    pub title: &'static str,
    pub columns: &'static [Column],
    pub compared: Comparison,
    pub rows: Vec<Row>,
}

/// Which number of the hub's is divided by which servers'.
#[derive(Clone, Copy)]
pub struct Comparison {
    pub metric: &'static str,
    pub peers: &'static [Kind],
}

/// Where the hub is measured alone.
pub const ALONE: Comparison = Comparison { metric: "", peers: &[] };

pub struct Column {
    pub metric: &'static str,
    pub heading: &'static str,
    pub decimals: usize,
}

pub const LOAD_COLUMNS: &[Column] = &[
    Column { metric: "per_second", heading: "per s", decimals: 0 },
    Column { metric: "server_cpu_us", heading: "server µs each", decimals: 1 },
    Column { metric: "generator_cpu_us", heading: "generator µs each", decimals: 1 },
    Column { metric: "p50_ms", heading: "p50 ms", decimals: 2 },
    Column { metric: "p99_ms", heading: "p99 ms", decimals: 2 },
    Column { metric: "server_cores", heading: "server cores", decimals: 2 },
    Column { metric: "other_load_percent", heading: "others %", decimals: 0 },
];

pub const IDLE_COLUMNS: &[Column] = &[
    Column { metric: "rss_kib_each", heading: "RSS KiB each", decimals: 1 },
    Column { metric: "pss_kib_each", heading: "PSS KiB each", decimals: 1 },
    Column { metric: "anonymous_kib_each", heading: "anonymous KiB each", decimals: 1 },
    Column { metric: "rss_kib_slope", heading: "RSS KiB each, last 90 %", decimals: 1 },
    Column { metric: "rss_mib_empty", heading: "RSS MiB before", decimals: 0 },
    Column { metric: "rss_mib_full", heading: "RSS MiB after", decimals: 0 },
];

pub const COMMAND_COLUMNS: &[Column] = &[
    Column { metric: "per_second", heading: "cycles per s", decimals: 0 },
    Column { metric: "server_cpu_us", heading: "server µs each", decimals: 1 },
    Column { metric: "generator_cpu_us", heading: "generator µs each", decimals: 1 },
    Column { metric: "delivery_p50_ms", heading: "send → delivery p50 ms", decimals: 2 },
    Column { metric: "delivery_p99_ms", heading: "p99 ms", decimals: 2 },
    Column { metric: "receipt_p50_ms", heading: "PUBACK → receipt p50 ms", decimals: 2 },
    Column { metric: "receipt_p99_ms", heading: "p99 ms", decimals: 2 },
    Column { metric: "server_cores", heading: "server cores", decimals: 2 },
    Column { metric: "other_load_percent", heading: "others %", decimals: 0 },
];

pub const READ_COLUMNS: &[Column] = &[
    Column { metric: "per_second", heading: "events per s", decimals: 0 },
    Column { metric: "server_cpu_us", heading: "server µs each", decimals: 2 },
    Column { metric: "generator_cpu_us", heading: "generator µs each", decimals: 2 },
    Column { metric: "server_cores", heading: "server cores", decimals: 2 },
    Column { metric: "generator_cores", heading: "generator cores", decimals: 2 },
    Column { metric: "disk_mib", heading: "from disk MiB", decimals: 0 },
    Column { metric: "other_load_percent", heading: "others %", decimals: 0 },
];

pub const CATCH_UP_COLUMNS: &[Column] = &[
    Column { metric: "per_second", heading: "sent per s", decimals: 0 },
    Column { metric: "server_cpu_us", heading: "server µs each, reading included", decimals: 1 },
    Column { metric: "p50_ms", heading: "p50 ms", decimals: 2 },
    Column { metric: "p99_ms", heading: "p99 ms", decimals: 2 },
    Column { metric: "read_per_second", heading: "read per s", decimals: 0 },
    Column { metric: "disk_mib", heading: "from disk MiB", decimals: 0 },
    Column { metric: "server_cores", heading: "server cores", decimals: 2 },
    Column { metric: "generator_cores", heading: "generator cores", decimals: 2 },
    Column { metric: "other_load_percent", heading: "others %", decimals: 0 },
];

pub const BROWSER_COLUMNS: &[Column] = &[
    Column { metric: "server_cpu_us", heading: "server µs each", decimals: 2 },
    Column { metric: "of_nobodys", heading: "÷ while nobody looks", decimals: 3 },
    Column { metric: "per_second", heading: "per s", decimals: 0 },
    Column { metric: "told_per_second", heading: "told to browsers per s, changes apart", decimals: 0 },
    Column { metric: "p50_ms", heading: "p50 ms", decimals: 2 },
    Column { metric: "p99_ms", heading: "p99 ms", decimals: 2 },
    Column { metric: "server_cores", heading: "server cores", decimals: 2 },
    Column { metric: "generator_cores", heading: "generator cores", decimals: 2 },
    Column { metric: "other_load_percent", heading: "others %", decimals: 0 },
];

pub const PRESENCE_COLUMNS: &[Column] = &[
    Column { metric: "p50_ms", heading: "reset → offline p50 ms", decimals: 2 },
    Column { metric: "p99_ms", heading: "p99 ms", decimals: 2 },
    Column { metric: "max_ms", heading: "longest ms", decimals: 2 },
];

pub const IDENTITY_COLUMNS: &[Column] = &[
    Column { metric: "creates_per_second", heading: "creates per s", decimals: 0 },
    Column { metric: "create_cpu_us", heading: "server µs each", decimals: 1 },
    Column { metric: "rss_mib", heading: "RSS MiB", decimals: 0 },
    Column { metric: "ready_s", heading: "restart → ready s", decimals: 2 },
    Column { metric: "rss_restarted_mib", heading: "RSS MiB then", decimals: 0 },
    Column { metric: "lookups_per_second", heading: "lookups per s", decimals: 0 },
    Column { metric: "lookup_p99_ms", heading: "lookup p99 ms", decimals: 2 },
    Column { metric: "disable_p50_ms", heading: "disable → closed p50 ms", decimals: 2 },
    Column { metric: "disable_p99_ms", heading: "p99 ms", decimals: 2 },
];

impl Row {
    /// The median of each metric over the rounds; of an even number the lower of the middle two.
    pub fn medians(&self) -> Metrics {
        let Some(first) = self.rounds.first() else { return Metrics::new() };
        let median = |metric: &'static str| {
            let mut values: Vec<f64> = self.rounds.iter().filter_map(|round| round.get(metric).copied()).collect();
            values.sort_unstable_by(f64::total_cmp);
            (metric, values[(values.len() - 1) / 2])
        };
        first.keys().copied().map(median).collect()
    }

    fn range(&self, metric: &str) -> Option<(f64, f64)> {
        let values = || self.rounds.iter().filter_map(|round| round.get(metric).copied());
        Some((values().min_by(f64::total_cmp)?, values().max_by(f64::total_cmp)?))
    }
}

impl Section {
    /// A Markdown table, ready for the documentation. The first column also gets its range over the rounds; behind the last stands how
    /// the hub compares with each peer under the same parameters.
    pub fn table(&self) -> String {
        let mut text = format!("\n## {}\n\n| server | |", self.title);
        for column in self.columns {
            let _ = write!(text, " {} |", column.heading);
        }
        for peer in self.compared.peers {
            let _ = write!(text, " {} ÷ {} |", self.heading(), peer.name());
        }
        let _ = write!(text, "\n|---|---|{}", "---:|".repeat(self.columns.len() + self.compared.peers.len()));
        for row in &self.rows {
            let medians = row.medians();
            let _ = write!(text, "\n| {} | {} |", row.server, row.parameters);
            for (index, column) in self.columns.iter().enumerate() {
                let decimals = column.decimals;
                let _ = match (medians.get(column.metric), row.range(column.metric)) {
                    (Some(value), Some((low, high))) if index == 0 && low < high => {
                        write!(text, " {value:.decimals$} ({low:.decimals$}–{high:.decimals$}) |")
                    }
                    (Some(value), _) => write!(text, " {value:.decimals$} |"),
                    (None, _) => write!(text, " – |"),
                };
            }
            for peer in self.compared.peers {
                let _ = match self.ratio(row, *peer) {
                    Some(ratio) => write!(text, " {ratio:.2} |"),
                    None => write!(text, " – |"),
                };
            }
        }
        text + "\n"
    }

    fn heading(&self) -> &'static str {
        self.columns.iter().find(|column| column.metric == self.compared.metric).map_or("", |column| column.heading)
    }

    /// The median of the hub's row divided by that of the peer, where the peer was measured in turns with it.
    fn ratio(&self, row: &Row, peer: Kind) -> Option<f64> {
        let metric = self.compared.metric;
        let peer = self.rows.iter().find(|other| other.server == peer.name() && other.parameters == row.parameters)?;
        Some(row.medians().get(metric)? / peer.medians().get(metric)?).filter(|_| row.server == Kind::Hub.name())
    }

    pub fn json(&self) -> Value {
        let rows = self
            .rows
            .iter()
            .map(|row| json!({"server": row.server, "parameters": row.parameters, "medians": row.medians(), "rounds": row.rounds}));
        json!({"title": self.title, "rows": rows.collect::<Vec<_>>()})
    }
}

/// Notes as `ratio` how each row's `metric` compares with the first row's in the same round: what changes on the machine meets both alike.
pub fn compare_with_first(rows: &mut [Row], metric: &str, ratio: &'static str) {
    let first: Vec<Option<f64>> = rows.first().iter().flat_map(|row| &row.rounds).map(|round| round.get(metric).copied()).collect();
    for row in rows {
        for (round, first) in row.rounds.iter_mut().zip(&first) {
            if let (Some(value), Some(first)) = (round.get(metric).copied(), first) {
                round.insert(ratio, value / first);
            }
        }
    }
}

#[expect(clippy::print_stderr, reason = "a benchmark talks to the person who started it")]
pub fn progress(text: &str) {
    eprintln!("{text}");
}

#[expect(clippy::print_stdout, reason = "printing is what a benchmark is for")]
pub fn print(text: &str) {
    println!("{text}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians_are_taken_metric_by_metric() {
        let rounds = [(1.0, 9.0), (3.0, 7.0), (2.0, 8.0)].map(|(one, other)| Metrics::from([("a", one), ("b", other)]));
        let row = Row { server: "s", parameters: String::new(), rounds: rounds.to_vec() };
        assert_eq!(row.medians(), Metrics::from([("a", 2.0), ("b", 8.0)]));
    }

    #[test]
    fn rows_are_compared_round_by_round() {
        let row =
            |values: [f64; 2]| Row { server: "s", parameters: String::new(), rounds: values.map(|a| Metrics::from([("a", a)])).into() };
        let mut rows = [row([2.0, 4.0]), row([3.0, 4.0])];
        compare_with_first(&mut rows, "a", "b");
        let ratios = rows.map(|row| row.rounds.iter().map(|round| round["b"]).collect::<Vec<_>>());
        assert_eq!(ratios, [[1.0, 1.0], [1.5, 1.0]]);
    }

    #[test]
    fn a_table_shows_what_is_there() {
        let columns = &[Column { metric: "a", heading: "A", decimals: 1 }, Column { metric: "z", heading: "Z", decimals: 0 }];
        let row = |server, rounds: &[f64]| {
            let rounds = rounds.iter().map(|value| Metrics::from([("a", *value)])).collect();
            Row { server, parameters: "window 1".to_owned(), rounds }
        };
        let compared = Comparison { metric: "a", peers: &[Kind::Mosquitto] };
        let section = Section { title: "T", columns, compared, rows: vec![row("mooring-hub", &[3.0, 1.0, 2.0]), row("mosquitto", &[0.5])] };
        let lines = [
            "\n## T\n",
            "| server | | A | Z | A ÷ mosquitto |",
            "|---|---|---:|---:|---:|",
            "| mooring-hub | window 1 | 2.0 (1.0–3.0) | – | 4.00 |",
            "| mosquitto | window 1 | 0.5 | – | – |\n",
        ];
        assert_eq!(section.table(), lines.join("\n"));
    }
}
