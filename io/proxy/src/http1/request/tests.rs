#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

use super::*;

fn read(text: &str) -> Result<Option<RequestHead>, HeadError> {
    read_request(&mut BytesMut::from(text.as_bytes()), &Limits::default())
}

#[test]
fn a_head_is_taken_apart() {
    let mut input = BytesMut::from(
        &b"\r\nPOST /a?b=1 HTTP/1.1\r\nHost: x:80\r\nX-A:  1 \r\nContent-Length: 3\r\nConnection: keep-alive, x-b\r\nX-B: 2\r\nX-Forwarded-For: 1.1.1.1\r\nEmpty:\r\n\r\nabc"[..],
    );
    let head = read_request(&mut input, &Limits::default()).unwrap().unwrap();
    assert_eq!(
        (&head.target[..], head.path(), &head.host[..]),
        (&b"/a?b=1"[..], &b"/a"[..], &b"x:80"[..])
    );
    assert_eq!(head.body, BodyLength::Bytes(3));
    assert!(head.keep_alive && !head.is_http10 && !head.is_repeatable());
    assert_eq!(head.forwarded_for.as_deref(), Some(&b"1.1.1.1"[..]));
    assert_eq!(&head.headers[..], b"X-A:  1\r\nEmpty:\r\n");
    assert_eq!(&input[..], b"abc");
}

#[test]
fn heads_come_in_pieces() {
    let text = "GET / HTTP/1.1\r\nHost: x\r\n\r\n";
    for end in 0..text.len() {
        assert!(read(&text[..end]).unwrap().is_none(), "{end}");
    }
    assert!(read(text).unwrap().is_some());
}

#[test]
fn ambiguous_and_malformed_heads_are_refused() {
    let cases = [
        ("Content-Length: 3\r\nTransfer-Encoding: chunked\r\n", 400),
        ("Transfer-Encoding: chunked\r\nContent-Length: 3\r\n", 400),
        ("Content-Length: 3\r\nContent-Length: 3\r\n", 400),
        ("Content-Length: 3\r\nContent-Length: 4\r\n", 400),
        ("Content-Length: 3, 3\r\n", 400),
        ("Content-Length: +3\r\n", 400),
        ("Content-Length: \r\n", 400),
        ("Content-Length: 0x3\r\n", 400),
        ("Content-Length: 99999999999999999999\r\n", 400),
        ("Transfer-Encoding: chunked, chunked\r\n", 501),
        (
            "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
            400,
        ),
        ("Transfer-Encoding: gzip, chunked\r\n", 501),
        ("Transfer-Encoding: xchunked\r\n", 501),
        ("Transfer-Encoding : chunked\r\n", 400),
        ("Transfer-Encoding: \x0bchunked\r\n", 400),
        ("X: 1\n", 400),
        ("X: 1\r\n folded\r\n", 400),
        ("X: 1\r\n\tfolded\r\n", 400),
        (" X: 1\r\n", 400),
        ("X: a\0b\r\n", 400),
        ("X: a\rb\r\n", 400),
        ("X\r\n", 400),
        (": x\r\n", 400),
        ("Host: y\r\n", 400),
        ("Expect: a miracle\r\n", 417),
    ];
    for (headers, status) in cases {
        let text = format!("POST / HTTP/1.1\r\nHost: x\r\n{headers}\r\n");
        assert_eq!(read(&text).unwrap_err().status, status, "{headers:?}");
    }
    for (text, status) in [
        ("GET / HTTP/1.1\r\n\r\n", 400),
        ("GET / HTTP/1.1\nHost: x\n\n", 400),
        ("GET / HTTP/1.1\r\nHost: x y\r\n\r\n", 400),
        ("GET x HTTP/1.1\r\nHost: x\r\n\r\n", 400),
        ("CONNECT x:1 HTTP/1.1\r\nHost: x\r\n\r\n", 400),
        ("GET / HTTP/2.0\r\nHost: x\r\n\r\n", 505),
        ("GET /\r\nHost: x\r\n\r\n", 400),
        ("G@T / HTTP/1.1\r\nHost: x\r\n\r\n", 400),
        ("POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n", 400),
    ] {
        assert_eq!(read(text).unwrap_err().status, status, "{text:?}");
    }
}

#[test]
fn no_client_takes_an_instance_to_another_http() {
    let upgrade = |value: &str| {
        let text = format!("GET / HTTP/1.1\r\nHost: x\r\nConnection: upgrade\r\nUpgrade: {value}\r\n\r\n");
        read(&text).unwrap().unwrap().upgrade
    };
    assert_eq!(upgrade("websocket").as_deref(), Some(&b"websocket"[..]));
    for other in ["h2c", "H2C", "websocket, h2c", "TLS/1.0", "HTTP/2.0"] {
        assert_eq!(upgrade(other), None, "{other}");
    }
}

#[test]
fn limits_hold() {
    let long = format!("GET / HTTP/1.1\r\nHost: x\r\nX: {}", "a".repeat(70_000));
    assert_eq!(read(&long).unwrap_err().status, 431);
    assert_eq!(read(&format!("{long}\r\n\r\n")).unwrap_err().status, 431);
    let many = format!("GET / HTTP/1.1\r\nHost: x\r\n{}\r\n", "X: 1\r\n".repeat(200));
    assert_eq!(read(&many).unwrap_err().status, 431);
}

#[test]
fn absolute_targets_name_the_host() {
    let head = read("GET http://a.b:1/x?y HTTP/1.1\r\nHost: other\r\n\r\n")
        .unwrap()
        .unwrap();
    assert_eq!((&head.host[..], &head.target[..]), (&b"a.b:1"[..], &b"/x?y"[..]));
    let head = read("GET http://a.b?y HTTP/1.1\r\nHost: other\r\n\r\n")
        .unwrap()
        .unwrap();
    assert_eq!(&head.target[..], b"/?y");
}

#[test]
fn keep_alive_by_version() {
    let keep = |line: &str, header: &str| {
        read(&format!("GET / {line}\r\nHost: x\r\n{header}\r\n"))
            .unwrap()
            .unwrap()
            .keep_alive
    };
    assert!(keep("HTTP/1.1", ""));
    assert!(!keep("HTTP/1.1", "Connection: close\r\n"));
    assert!(!keep("HTTP/1.0", ""));
    assert!(keep("HTTP/1.0", "Connection: Keep-Alive\r\n"));
}

#[test]
fn targets_and_hosts_are_what_they_should_be() {
    for line in [
        "GET /a#b HTTP/1.1",
        "GET /\u{e9} HTTP/1.1",
        "GET  / HTTP/1.1",
        "GET / HTTP/1.1 ",
        "GET /\tx HTTP/1.1",
        "\tGET / HTTP/1.1",
        "GET / http/1.1",
        "GET / HTTP/1.2",
        "GET / HTTP/11",
        "GET * HTTP/1.1",
        "GET http:///x HTTP/1.1",
        "GET http://user@x/ HTTP/1.1",
        "GET http://x:y/ HTTP/1.1",
        "GET ftp://x/ HTTP/1.1",
        "GET / HTTP/1.1\r\nHost: y",
        "(GET) / HTTP/1.1",
        " / HTTP/1.1",
    ] {
        assert!(read(&format!("{line}\r\nHost: x\r\n\r\n")).is_err(), "{line:?}");
    }
    for host in [
        "x:y", "x:1:2", "x:123456", "[::1", "[::g]", "a@b", "a/b", "a b", "a,b", "", ":80", "x\\y",
    ] {
        let text = format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n");
        assert_eq!(read(&text).unwrap_err().status, 400, "{host:?}");
    }
    for host in [
        "x",
        "x:",
        "x:80",
        "[::1]",
        "[::1]:80",
        "a_b.c-d.~e",
        "127.0.0.1:65535",
        "%41",
    ] {
        let text = format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n");
        assert_eq!(&read(&text).unwrap().unwrap().host[..], host.as_bytes());
    }
    let options = read("OPTIONS http://x HTTP/1.1\r\nHost: x\r\n\r\n")
        .unwrap()
        .unwrap();
    assert_eq!(&options.target[..], b"*");
}

#[test]
fn what_a_client_says_of_trailers_and_forwards_is_read() {
    let head = read("POST / HTTP/1.1\r\nHost: x\r\nTE: deflate, Trailers\r\nTrailer: a\r\ntrailer: b\r\nMax-Forwards: 3\r\nTransfer-Encoding: Chunked\r\n\r\n")
        .unwrap()
        .unwrap();
    assert!(head.accepts_trailers && head.body == BodyLength::Chunked);
    assert_eq!(head.trailer.as_deref(), Some(&b"a, b"[..]));
    assert_eq!(
        &head.headers[..],
        b"Max-Forwards: 3\r\n",
        "it is for TRACE and OPTIONS"
    );
    let head = read("OPTIONS / HTTP/1.1\r\nHost: x\r\nMax-Forwards: 3\r\n\r\n")
        .unwrap()
        .unwrap();
    assert_eq!((head.max_forwards, head.headers.len()), (Some(3), 0));
}
