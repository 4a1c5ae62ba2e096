//! The proxy as a program of its own, for its tests and benchmarks: `trimtab-proxy holder|worker DIR`.

use std::path::Path;
use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let outcome = match words[..] {
        ["holder", dir] => trimtab_proxy::holder::main(Path::new(dir)).map_err(|error| error.to_string()),
        ["worker", dir] => trimtab_proxy::worker::main(Path::new(dir)).map_err(|error| error.to_string()),
        _ => Err("start: use `trimtab-proxy holder DIR` with a config.json in DIR".to_owned()),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("failed to {error}");
            ExitCode::FAILURE
        }
    }
}
