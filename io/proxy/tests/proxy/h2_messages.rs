//! RFC 9113 §8 and RFC 7541: what makes a message malformed.

use crate::h2_strict::{Case, check, proxy};
use crate::h2_wire::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn http2_messages_are_whole() {
    let (instance, proxy) = proxy().await;
    let with = |more: &[(&str, &str)]| vec![request(1, &[&PLAIN, more].concat())];
    let only = |fields: &[(&str, &str)]| vec![request(1, fields)];
    let body = |length: &str, parts: &[&[u8]]| {
        let mut frames = vec![post(1, "/echo", &[("content-length", length)])];
        for (number, part) in parts.iter().enumerate() {
            let last = u8::from(number + 1 == parts.len());
            frames.push(frame(DATA, last, 1, part));
        }
        frames
    };
    let trailers = |flags: u8, fields: &[(&str, &str)]| {
        vec![
            post(1, "/echo", &[]),
            frame(DATA, 0, 1, b"x"),
            frame(HEADERS, flags, 1, &block(fields)),
        ]
    };
    let malformed: &[u32] = &[PROTOCOL_ERROR];
    let cases: Vec<Case<'_>> = vec![
        // §8.1
        (
            "a second head that ends nothing",
            trailers(END_HEADERS, &[("x", "1")]),
            malformed,
        ),
        (
            "pseudo headers in trailers",
            trailers(5, &[(":method", "GET")]),
            malformed,
        ),
        ("upper case in trailers", trailers(5, &[("X-A", "1")]), malformed),
        // §8.2
        ("upper case", with(&[("X-A", "1")]), malformed),
        ("connection", with(&[("connection", "close")]), malformed),
        (
            "proxy-connection",
            with(&[("proxy-connection", "keep-alive")]),
            malformed,
        ),
        ("keep-alive", with(&[("keep-alive", "timeout=5")]), malformed),
        (
            "transfer-encoding",
            with(&[("transfer-encoding", "chunked")]),
            malformed,
        ),
        ("upgrade", with(&[("upgrade", "websocket")]), malformed),
        ("te", with(&[("te", "trailers, deflate")]), malformed),
        // §8.3
        ("unknown pseudo header", with(&[(":test", "x")]), malformed),
        (
            "a response's pseudo header",
            with(&[(":status", "200")]),
            malformed,
        ),
        (
            "late pseudo header",
            only(&[PLAIN[0], PLAIN[1], ("x", "1"), PLAIN[2], PLAIN[3]]),
            malformed,
        ),
        (
            "empty path",
            only(&[PLAIN[0], PLAIN[1], (":path", ""), PLAIN[3]]),
            malformed,
        ),
        ("no method", only(&PLAIN[1..]), malformed),
        ("no scheme", only(&[PLAIN[0], PLAIN[2], PLAIN[3]]), malformed),
        ("no path", only(&[PLAIN[0], PLAIN[1], PLAIN[3]]), malformed),
        ("two methods", with(&[(":method", "GET")]), malformed),
        ("two schemes", with(&[(":scheme", "http")]), malformed),
        ("two paths", with(&[(":path", "/")]), malformed),
        ("two authorities", with(&[(":authority", "x")]), malformed),
        // §8.1.1
        ("a body shorter than said", body("9", &[b"hello"]), malformed),
        ("a body longer than said", body("3", &[b"hello"]), malformed),
        (
            "a body longer than said, in two",
            body("8", &[b"hello", b"hello"]),
            malformed,
        ),
        (
            "no body where one was said",
            vec![{
                let mut fields = PLAIN.to_vec();
                fields[0].1 = "POST";
                fields.push(("content-length", "5"));
                request(1, &fields)
            }],
            malformed,
        ),
        ("a length that is none", body("five", &[b"hello"]), malformed),
        (
            "two lengths",
            vec![
                post(1, "/echo", &[("content-length", "5"), ("content-length", "6")]),
                frame(DATA, 1, 1, b"hello"),
            ],
            malformed,
        ),
        // §8.5
        (
            "CONNECT with a path",
            only(&[(":method", "CONNECT"), PLAIN[1], PLAIN[2], PLAIN[3]]),
            malformed,
        ),
    ];
    check(&proxy, cases).await;
    assert!(instance.served() < 100);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hpack_is_decoded_strictly() {
    let (_instance, proxy) = proxy().await;
    let with = |bytes: &[u8]| vec![frame(HEADERS, 5, 1, &[&block(&PLAIN)[..], bytes].concat())];
    let cases: Vec<Case<'_>> = vec![
        // RFC 7541 §2.3.3, §6.1
        ("index 0", with(&[0x80]), &[COMPRESSION_ERROR]),
        (
            "index beyond the table",
            with(&[0xff, 0x20]),
            &[COMPRESSION_ERROR],
        ),
        (
            "name beyond the table",
            with(&[0x7f, 0x20, 1, b'x']),
            &[COMPRESSION_ERROR],
        ),
        // §4.2, §6.3
        ("table size at the end", with(&[0x20]), &[COMPRESSION_ERROR]),
        (
            "table size too large",
            vec![frame(
                HEADERS,
                5,
                1,
                &[&[0x3f, 0xe1, 0xff, 0x03][..], &block(&PLAIN)].concat(),
            )],
            &[COMPRESSION_ERROR],
        ),
        // §5.2: padding longer than 7 bits, of zeros, and the end of a string within it.
        (
            "long padding",
            with(&[0, 1, b'x', 0x82, 0x1f, 0xff]),
            &[COMPRESSION_ERROR],
        ),
        (
            "padding of zeros",
            with(&[0, 1, b'x', 0x81, 0x18]),
            &[COMPRESSION_ERROR],
        ),
        (
            "end of string",
            with(&[0, 1, b'x', 0x84, 0xff, 0xff, 0xff, 0xff]),
            &[COMPRESSION_ERROR],
        ),
        // §5.1
        (
            "an integer without end",
            with(&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f]),
            &[COMPRESSION_ERROR],
        ),
        (
            "a string longer than the block",
            with(&[0, 1, b'x', 0x50, b'y']),
            &[COMPRESSION_ERROR],
        ),
    ];
    check(&proxy, cases).await;
}
