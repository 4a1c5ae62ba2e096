//! What the test's image holds: a service that misbehaves as asked. Built alone, without crates, as a static program.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};

fn main() {
    let variable = |name: &str| std::env::var(name).unwrap_or_default();
    match std::env::args().nth(1).as_deref() {
        Some("check") => std::process::exit(if std::path::Path::new("/tmp-stuck").exists() { 1 } else { 0 }),
        Some("say") => {
            println!("{} {}", std::env::args().nth(2).unwrap_or_default(), variable("KEY"));
            std::process::exit(3);
        }
        _ => {}
    }
    let _ = std::fs::remove_file("/tmp-stuck");
    println!("hello as {} with key {}", variable("NAME"), variable("KEY"));
    eprintln!("to standard error");
    let listener = TcpListener::bind(format!("0.0.0.0:{}", variable("PORT"))).expect("a free port");
    for stream in listener.incoming() {
        let mut stream = stream.expect("a connection");
        let mut request = [0; 2048];
        let read = stream.read(&mut request).unwrap_or(0);
        let request = String::from_utf8_lossy(&request[..read]).into_owned();
        let body = match request.split(' ').nth(1).unwrap_or("/") {
            "/exit" => std::process::exit(7),
            "/stuck" => std::fs::write("/tmp-stuck", "").map_or_else(|error| error.to_string(), |()| "stuck".to_owned()),
            "/hog" => {
                let taken: Vec<Vec<u8>> = (0..500).map(|_| vec![1; 1_000_000]).collect();
                taken.len().to_string()
            }
            "/telemetry" => telemetry(&variable("OTEL_EXPORTER_OTLP_ENDPOINT")).unwrap_or_else(|error| error.to_string()),
            _ => "ok".to_owned(),
        };
        let fails = !variable("FAIL").is_empty() && request.starts_with("GET /work");
        let status = if fails { "500 Internal Server Error" } else { "200 OK" };
        let (release, length) = (variable("TRIMTAB_RELEASE"), body.len());
        let _ = write!(
            stream,
            "HTTP/1.1 {status}\r\nX-Release: {release}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"
        );
    }
}

/// What the telemetry listener says.
fn telemetry(endpoint: &str) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(endpoint.trim_start_matches("http://"))?;
    stream.write_all(b"GET / HTTP/1.0\r\n\r\n")?;
    let mut text = String::new();
    stream.read_to_string(&mut text)?;
    Ok(text)
}
