//! How often verdicts are wrong, how soon they are right, and how others fare on the same traffic.
//!
//! `cargo bench --bench verdict` runs reduced counts; `-- full` runs 10,000 of each null scenario; `-- runs N`
//! any number. A table goes to standard error, a flat JSON object of figures to standard output.

mod detect;
mod nulls;
mod report;
mod rivals;
mod stream;

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
    nulls::run(&mut report, runs);
    detect::run(&mut report, runs.min(1_000));
    rivals::run(&mut report, runs);
    println!("{}", report.json());
}
