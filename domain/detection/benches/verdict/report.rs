//! A table for people and a flat object of figures for machines.

use std::collections::BTreeMap;

#[derive(Default)]
pub(crate) struct Report {
    figures: BTreeMap<String, f64>,
}

impl Report {
    pub(crate) fn heading(&mut self, text: &str) {
        eprintln!("\n{text}");
    }

    pub(crate) fn note(&mut self, text: &str) {
        eprintln!("{text}");
    }

    pub(crate) fn row(&mut self, cells: &[String]) {
        let cells: Vec<String> = cells.iter().map(|cell| format!("{cell:>24}")).collect();
        eprintln!("{}", cells.join(" "));
    }

    pub(crate) fn figure(&mut self, name: &str, value: f64) {
        self.figures.insert(name.to_owned(), value);
    }

    /// A share of runs in per cent, with its 99 % interval (Wilson 1927).
    pub(crate) fn share(&mut self, name: &str, hits: u64, runs: u64) {
        let (n, p, z) = (runs as f64, hits as f64 / runs as f64, 2.576f64);
        let centre = (p + z * z / (2.0 * n)) / (1.0 + z * z / n);
        let half = z / (1.0 + z * z / n) * (p * (1.0 - p) / n + z * z / (4.0 * n * n)).sqrt();
        let (low, high) = ((centre - half).max(0.0) * 100.0, (centre + half) * 100.0);
        eprintln!(
            "{name:>64} {:5.2} %  ({low:.2} to {high:.2}, {hits} of {runs})",
            p * 100.0
        );
        self.figure(name, p * 100.0);
        let stem = name.trim_end_matches("_percent");
        self.figure(&format!("{stem}_high99_percent"), high);
    }

    /// The figures as one flat JSON object on one line; names hold no character that needs an escape.
    pub(crate) fn json(&self) -> String {
        let fields: Vec<String> = self
            .figures
            .iter()
            .map(|(name, value)| format!("\"{name}\": {value:.4}"))
            .collect();
        format!("{{{}}}", fields.join(", "))
    }
}
