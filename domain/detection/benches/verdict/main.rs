//! How often verdicts are wrong, how soon they are right, and how others fare on the same traffic.
//!
//! `cargo bench --bench verdict` runs reduced counts; `-- full` runs 10,000 of each null scenario; `-- runs N`
//! any number; `-- only NAME` one part (nulls, nulls_past, sticky, detect, breakage, rivals, shown, cost). A table goes to standard error, a flat JSON object of figures to standard output.

mod breakage;
mod cost;
mod detect;
mod nulls;
mod report;
mod rivals;
mod shown;
mod sticky;
mod stream;

/// One part of the benchmark, with the runs of each scenario.
type Part = fn(&mut report::Report, u64);

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let given = args
        .iter()
        .position(|a| a == "runs")
        .and_then(|at| args.get(at + 1)?.parse().ok());
    let runs: u64 = given.unwrap_or(if args.iter().any(|a| a == "full") {
        10_000
    } else {
        200
    });
    let mut report = report::Report::default();
    let only = args
        .iter()
        .position(|a| a == "only")
        .and_then(|at| args.get(at + 1));
    let parts: [(&str, Part); 8] = [
        ("nulls", nulls::between_arms),
        ("nulls_past", nulls::beside_past),
        ("sticky", sticky::run),
        ("detect", |report, runs| detect::run(report, runs.min(2_000))),
        ("breakage", |report, runs| breakage::run(report, runs.min(2_000))),
        ("rivals", rivals::run),
        ("shown", |report, runs| shown::run(report, runs.min(2_000))),
        ("cost", cost::run),
    ];
    for (name, part) in parts {
        if only.is_none_or(|only| only == name) {
            part(&mut report, runs);
        }
    }
    println!("{}", report.json());
}
