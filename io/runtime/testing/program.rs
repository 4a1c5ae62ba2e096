//! What the crate's tests start: the shim, and a service that misbehaves as asked.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::ExitCode;

use trimtab_runtime::{ProcessRuntime, Runtime, ShimProgram};

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match args.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["shim", ..] => trimtab_runtime::shim::main(args[1..].to_vec()),
        ["control", folder, spec] => control(folder, spec),
        ["serve"] => serve(),
        ["hog", megabytes] => hog(megabytes.parse().unwrap_or(0)),
        ["flood", bytes] => flood(bytes.parse().unwrap_or(0)),
        _ => ExitCode::FAILURE,
    }
}

/// A control process: sees that the instance runs, says so, and stays.
fn control(folder: &str, spec: &str) -> ExitCode {
    let shim = ShimProgram {
        program: std::env::current_exe().unwrap_or_default(),
        args: vec!["shim".to_owned()],
    };
    let ensure = async {
        let spec = serde_json::from_str(spec).map_err(|error| error.to_string())?;
        let runtime = ProcessRuntime::new(folder, shim).map_err(|error| error.to_string())?;
        runtime.ensure(spec).await.map_err(|error| error.to_string())
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    match runtime.map(|runtime| runtime.block_on(ensure)) {
        Ok(Ok(_)) => println!("ready"),
        failed => println!("{failed:?}"),
    }
    loop {
        std::thread::park();
    }
}

/// Answers on `PORT`: `/health` as `HEALTH_STATUS` and `HEALTH_BODY` say, `/env` with its environment, `/say?TEXT` after writing
/// TEXT to both outputs, `/exit?CODE` not at all.
fn serve() -> ExitCode {
    let port = std::env::var("PORT").unwrap_or_default();
    let listener = match TcpListener::bind(format!("127.0.0.1:{port}")) {
        Ok(listener) => listener,
        Err(error) => {
            eprintln!("cannot bind: {error}");
            return ExitCode::from(3);
        }
    };
    println!("listening on {port}");
    for stream in listener.incoming() {
        let Ok(stream) = stream else { continue };
        answer(stream);
    }
    ExitCode::SUCCESS
}

fn answer(mut stream: TcpStream) {
    let mut request = [0; 4096];
    let read = stream.read(&mut request).unwrap_or(0);
    let request = String::from_utf8_lossy(&request[..read]).into_owned();
    let target = request.split(' ').nth(1).unwrap_or("/").to_owned();
    let (path, query) = target.split_once('?').unwrap_or((&target, ""));
    let variable = |name: &str, default: &str| std::env::var(name).unwrap_or_else(|_| default.to_owned());
    let (status, body) = match path {
        "/health" => (variable("HEALTH_STATUS", "200"), variable("HEALTH_BODY", "fine")),
        "/env" => {
            let mut entries: Vec<String> = std::env::vars()
                .map(|(name, value)| format!("{name}={value}"))
                .collect();
            entries.sort();
            let here = std::env::current_dir().unwrap_or_default();
            entries.push(format!("(in {})", here.display()));
            ("200".to_owned(), entries.join("\n"))
        }
        "/say" => {
            println!("{query}");
            eprintln!("{query}");
            ("200".to_owned(), String::new())
        }
        "/exit" => std::process::exit(query.parse().unwrap_or(1)),
        _ => ("404".to_owned(), String::new()),
    };
    let _ = write!(
        stream,
        "HTTP/1.1 {status} X\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
}

/// Takes and touches that much memory, says so, and stays.
fn hog(megabytes: usize) -> ExitCode {
    let mut taken = Vec::new();
    for _ in 0..megabytes {
        taken.push(std::hint::black_box(vec![1_u8; 1_000_000]));
    }
    println!("took {} MB", taken.len());
    loop {
        std::thread::park();
    }
}

/// Writes one line of that many bytes, then `after`, and stays.
fn flood(bytes: usize) -> ExitCode {
    let chunk = vec![b'x'; 1024 * 1024];
    let mut out = std::io::stdout().lock();
    let mut left = bytes;
    while left > 0 {
        let now = left.min(chunk.len());
        if out.write_all(&chunk[..now]).is_err() {
            return ExitCode::FAILURE;
        }
        left -= now;
    }
    let _ = out.write_all(b"\nafter\n");
    let _ = out.flush();
    loop {
        std::thread::park();
    }
}
