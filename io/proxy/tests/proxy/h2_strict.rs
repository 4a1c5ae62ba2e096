//! RFC 9113 section by section: what a server must refuse, and with which code.

use crate::h2_wire::*;
use crate::harness::{Instance, Proxy};

/// What it is, the frames that do it, and the codes that answer it.
pub(crate) type Case<'a> = (&'a str, Vec<Vec<u8>>, &'a [u32]);

/// Sends each case's frames and compares the code that comes back; a good request on stream 99 or 101
/// ends those after which the connection lives on.
pub(crate) async fn check(proxy: &Proxy, cases: Vec<Case<'_>>) {
    let mut wrong = Vec::new();
    for (what, frames, codes) in cases {
        let mut wire = Wire::settled(proxy, &[]).await;
        wire.send(&frames.concat()).await;
        // Whatever still lives answers this.
        wire.send(&request(101, &PLAIN)).await;
        let mut code = None;
        loop {
            let Some(frame) = wire.next().await else {
                code = code.or(Some(0));
                break;
            };
            if frame.code().is_some_and(|code| code != 0) {
                code = frame.code();
                break;
            }
            if frame.ends(101) {
                break;
            }
        }
        if !code.is_some_and(|code| codes.contains(&code)) {
            wrong.push(format!("{what}: {code:?} instead of {codes:?}"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

pub(crate) async fn proxy() -> (Instance, Proxy) {
    let instance = Instance::start("blocks-r1").await;
    let proxy = Proxy::before(&instance).await;
    (instance, proxy)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn http2_frames_have_their_size_and_place() {
    let (_instance, proxy) = proxy().await;
    let head = block(&PLAIN);
    let open = post(1, "/echo", &[]);
    let cases: Vec<Case<'_>> = vec![
        // §4.2: no frame above 16,384 bytes was allowed.
        (
            "large DATA",
            vec![open.clone(), frame(DATA, 1, 1, &[0; 16_385])],
            &[FRAME_SIZE_ERROR],
        ),
        (
            "large HEADERS",
            vec![frame(HEADERS, 5, 1, &[0; 16_385])],
            &[FRAME_SIZE_ERROR],
        ),
        (
            "large unknown",
            vec![frame(0x20, 0, 0, &[0; 16_385])],
            &[FRAME_SIZE_ERROR],
        ),
        // §4.3: one block, nothing in between.
        (
            "block broken",
            vec![frame(HEADERS, 5, 1, &[0xff; 40])],
            &[COMPRESSION_ERROR],
        ),
        (
            "block with a PING in it",
            vec![frame(HEADERS, 1, 1, &head), frame(PING, 0, 0, &[0; 8])],
            &[PROTOCOL_ERROR],
        ),
        (
            "block with an unknown frame in it",
            vec![frame(HEADERS, 1, 1, &head), frame(0x20, 0, 1, &[])],
            &[PROTOCOL_ERROR],
        ),
        (
            "block with HEADERS in it",
            vec![frame(HEADERS, 1, 1, &head), request(3, &PLAIN)],
            &[PROTOCOL_ERROR],
        ),
        (
            "CONTINUATION of another",
            vec![frame(HEADERS, 1, 1, &head), frame(CONTINUATION, 4, 3, &[])],
            &[PROTOCOL_ERROR],
        ),
        (
            "CONTINUATION of nothing",
            vec![frame(CONTINUATION, 4, 1, &head)],
            &[PROTOCOL_ERROR],
        ),
        (
            "CONTINUATION of a whole block",
            vec![request(1, &PLAIN), frame(CONTINUATION, 4, 1, &[])],
            &[PROTOCOL_ERROR],
        ),
        (
            "CONTINUATION on the connection",
            vec![frame(HEADERS, 1, 1, &head), frame(CONTINUATION, 4, 0, &[])],
            &[PROTOCOL_ERROR],
        ),
        // §6.1
        (
            "DATA on the connection",
            vec![frame(DATA, 1, 0, b"x")],
            &[PROTOCOL_ERROR],
        ),
        (
            "DATA that is all padding",
            vec![open.clone(), frame(DATA, PADDED | 1, 1, &[5, 0, 0])],
            &[PROTOCOL_ERROR],
        ),
        (
            "DATA padded as long as it is",
            vec![open.clone(), frame(DATA, PADDED | 1, 1, &[1])],
            &[PROTOCOL_ERROR],
        ),
        (
            "DATA without its padding's length",
            vec![open.clone(), frame(DATA, PADDED | 1, 1, &[])],
            &[PROTOCOL_ERROR, FRAME_SIZE_ERROR],
        ),
        // §6.2
        (
            "HEADERS on the connection",
            vec![frame(HEADERS, 5, 0, &head)],
            &[PROTOCOL_ERROR],
        ),
        (
            "HEADERS that are all padding",
            vec![frame(HEADERS, PADDED | 5, 1, &[200, 0x82])],
            &[PROTOCOL_ERROR],
        ),
        // §6.3
        (
            "PRIORITY on the connection",
            vec![frame(PRIORITY, 0, 0, &[0; 5])],
            &[PROTOCOL_ERROR],
        ),
        (
            "PRIORITY of another size",
            vec![frame(PRIORITY, 0, 1, &[0; 4])],
            &[FRAME_SIZE_ERROR],
        ),
        // §6.4
        (
            "RST_STREAM on the connection",
            vec![frame(RST_STREAM, 0, 0, &[0; 4])],
            &[PROTOCOL_ERROR],
        ),
        (
            "RST_STREAM of an idle stream",
            vec![frame(RST_STREAM, 0, 1, &[0; 4])],
            &[PROTOCOL_ERROR],
        ),
        (
            "RST_STREAM of another size",
            vec![open.clone(), frame(RST_STREAM, 0, 1, &[0; 3])],
            &[FRAME_SIZE_ERROR],
        ),
        // §6.5
        (
            "SETTINGS on a stream",
            vec![frame(SETTINGS, 0, 1, &[])],
            &[PROTOCOL_ERROR],
        ),
        (
            "SETTINGS of another size",
            vec![frame(SETTINGS, 0, 0, &[0; 5])],
            &[FRAME_SIZE_ERROR],
        ),
        (
            "SETTINGS acknowledged with more",
            vec![frame(SETTINGS, ACK, 0, &[0; 6])],
            &[FRAME_SIZE_ERROR],
        ),
        (
            "ENABLE_PUSH 2",
            vec![frame(SETTINGS, 0, 0, &setting(2, 2))],
            &[PROTOCOL_ERROR],
        ),
        (
            "INITIAL_WINDOW_SIZE too large",
            vec![frame(SETTINGS, 0, 0, &setting(4, 1 << 31))],
            &[FLOW_CONTROL_ERROR],
        ),
        (
            "MAX_FRAME_SIZE too small",
            vec![frame(SETTINGS, 0, 0, &setting(5, 16_383))],
            &[PROTOCOL_ERROR],
        ),
        (
            "MAX_FRAME_SIZE too large",
            vec![frame(SETTINGS, 0, 0, &setting(5, 1 << 24))],
            &[PROTOCOL_ERROR],
        ),
        (
            "ENABLE_CONNECT_PROTOCOL 2",
            vec![frame(SETTINGS, 0, 0, &setting(8, 2))],
            &[PROTOCOL_ERROR],
        ),
        // §6.6: clients push nothing.
        (
            "PUSH_PROMISE",
            vec![frame(PUSH_PROMISE, 4, 1, &[&[0, 0, 0, 2][..], &head].concat())],
            &[PROTOCOL_ERROR],
        ),
        // §6.7, §6.8
        (
            "PING on a stream",
            vec![frame(PING, 0, 1, &[0; 8])],
            &[PROTOCOL_ERROR],
        ),
        (
            "PING of another size",
            vec![frame(PING, 0, 0, &[0; 6])],
            &[FRAME_SIZE_ERROR],
        ),
        (
            "GOAWAY on a stream",
            vec![frame(GOAWAY, 0, 1, &[0; 8])],
            &[PROTOCOL_ERROR],
        ),
        (
            "GOAWAY of another size",
            vec![frame(GOAWAY, 0, 0, &[0; 7])],
            &[FRAME_SIZE_ERROR],
        ),
        // §6.9
        (
            "WINDOW_UPDATE of nothing",
            vec![frame(WINDOW_UPDATE, 0, 0, &[0; 4])],
            &[PROTOCOL_ERROR],
        ),
        (
            "WINDOW_UPDATE of nothing on a stream",
            vec![open.clone(), frame(WINDOW_UPDATE, 0, 1, &[0; 4])],
            &[PROTOCOL_ERROR],
        ),
        (
            "WINDOW_UPDATE of another size",
            vec![frame(WINDOW_UPDATE, 0, 0, &[0; 3])],
            &[FRAME_SIZE_ERROR],
        ),
        (
            "WINDOW_UPDATE of an idle stream",
            vec![frame(WINDOW_UPDATE, 0, 1, &[0, 0, 0, 9])],
            &[PROTOCOL_ERROR],
        ),
        (
            "window of the connection overflows",
            vec![frame(WINDOW_UPDATE, 0, 0, &0x7fff_ffff_u32.to_be_bytes())],
            &[FLOW_CONTROL_ERROR],
        ),
        (
            "window of a stream overflows",
            vec![
                open.clone(),
                frame(WINDOW_UPDATE, 0, 1, &0x7fff_ffff_u32.to_be_bytes()),
            ],
            &[FLOW_CONTROL_ERROR],
        ),
        (
            "window of a stream overflows by settings",
            vec![
                open,
                frame(WINDOW_UPDATE, 0, 1, &0x7000_0000_u32.to_be_bytes()),
                frame(SETTINGS, 0, 0, &setting(4, 0x7fff_ffff)),
            ],
            &[FLOW_CONTROL_ERROR],
        ),
    ];
    check(&proxy, cases).await;
    assert_eq!(proxy.get("/").await.status(), 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn http2_streams_have_their_states() {
    let (_instance, proxy) = proxy().await;
    let whole = request(1, &PLAIN);
    let reset = frame(RST_STREAM, 0, 1, &8_u32.to_be_bytes());
    let slow = {
        let mut fields = PLAIN;
        fields[2].1 = "/slow/300";
        request(1, &fields)
    };
    let cases: Vec<Case<'_>> = vec![
        // §5.1
        (
            "DATA on an idle stream",
            vec![frame(DATA, 1, 1, b"x")],
            &[PROTOCOL_ERROR],
        ),
        (
            "DATA after the end",
            vec![slow.clone(), frame(DATA, 1, 1, b"x")],
            &[STREAM_CLOSED],
        ),
        (
            "HEADERS after the end",
            vec![slow.clone(), request(1, &PLAIN)],
            &[STREAM_CLOSED],
        ),
        (
            "DATA after a reset",
            vec![slow.clone(), reset.clone(), frame(DATA, 1, 1, b"x")],
            &[STREAM_CLOSED],
        ),
        (
            "HEADERS after a reset",
            vec![slow, reset, request(1, &PLAIN)],
            &[STREAM_CLOSED],
        ),
        // §5.1.1
        ("even stream", vec![request(2, &PLAIN)], &[PROTOCOL_ERROR]),
        (
            "stream below the last",
            vec![request(5, &PLAIN), request(3, &PLAIN)],
            &[PROTOCOL_ERROR],
        ),
        // §5.3.1: refused by RFC 7540, and nothing to gain by a client that says it.
        (
            "a stream that depends on itself",
            vec![frame(
                HEADERS,
                PRIORITISED | 5,
                1,
                &[&[0, 0, 0, 1, 0][..], &block(&PLAIN)].concat(),
            )],
            &[PROTOCOL_ERROR],
        ),
        (
            "PRIORITY of itself",
            vec![whole, frame(PRIORITY, 0, 3, &[0, 0, 0, 3, 0])],
            &[PROTOCOL_ERROR],
        ),
    ];
    check(&proxy, cases).await;
    // §5.1.2: more at once than allowed.
    let mut wire = Wire::settled(&proxy, &[]).await;
    let mut fields = PLAIN;
    fields[2].1 = "/slow/2000";
    for number in 0..200 {
        wire.send(&request(1 + 2 * number, &fields)).await;
    }
    let refused = wire.until(|frame| frame.code().is_some()).await.unwrap();
    assert!(
        matches!(refused.code(), Some(REFUSED_STREAM | PROTOCOL_ERROR)),
        "{refused:?}"
    );
}
