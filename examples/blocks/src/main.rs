//! `blocks` serves; `blocks check` and `blocks traffic` try a running one.

use std::process::ExitCode;

const USAGE: &str = "usage:
  blocks [serve]                      serve on PORT (8080), data in DATA (./data), plug-ins in ./plugins
  blocks check --smoke URL            does it live and do the simplest thing
  blocks check --integration URL      do its parts work together
  blocks check --load URL             a few seconds of load; fails when it errs or is slow
  blocks traffic URL [--rate N] [--seconds N] [--seed N]
                                      what users do, N requests a second, with a summary at the end";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let outcome = match words.as_slice() {
        [] | ["serve"] => blocks::server::main(),
        ["check", "--smoke", url] => blocks::check::smoke(url),
        ["check", "--integration", url] => blocks::check::integration(url),
        ["check", "--load", url] => blocks::check::load(url),
        ["traffic", url, options @ ..] => blocks::traffic::main(url, options),
        _ => Err(USAGE.to_owned()),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(reason) => {
            eprintln!("{reason}");
            ExitCode::FAILURE
        }
    }
}
