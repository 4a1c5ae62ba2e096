//! What a server must do for clients that keep to RFC 9113.

use crate::h2_strict::proxy;
use crate::h2_wire::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn http2_does_what_it_must() {
    let (_instance, proxy) = proxy().await;
    let mut wire = Wire::open(&proxy, &[]).await;
    // §3.4: the server's preface is a SETTINGS frame, and ours is acknowledged.
    let first = wire.next().await.unwrap();
    assert_eq!((first.kind, first.flags, first.stream), (SETTINGS, 0, 0));
    let ack = wire.until(|frame| frame.kind == SETTINGS).await.unwrap();
    assert_eq!((ack.flags, ack.payload.len()), (ACK, 0));
    // §6.7: a PING is answered with what it carried; an answer is not answered.
    wire.send(&frame(PING, ACK, 0, b"notasked")).await;
    wire.send(&frame(PING, 0, 0, b"12345678")).await;
    let pong = wire.until(|frame| frame.kind == PING).await.unwrap();
    assert_eq!((pong.flags, &pong.payload[..]), (ACK, &b"12345678"[..]));
    // §4.1, §5.5: unknown frames, flags, settings and the reserved bit mean nothing.
    wire.send(&frame(0x16, 0xff, 0, b"whatever")).await;
    wire.send(&frame(SETTINGS, 0, 0, &setting(0xff, 7))).await;
    wire.send(&frame(
        HEADERS,
        END_STREAM | END_HEADERS | 0x40,
        1 | 1 << 31,
        &block(&PLAIN),
    ))
    .await;
    assert_eq!(wire.failure(1).await, None);
    // §6.2, §6.1: padding and priority are left out.
    let padded = [&[3][..], &[0x80, 0, 0, 0, 15], &block(&PLAIN), &[0; 3]].concat();
    wire.send(&frame(HEADERS, 5 | PADDED | PRIORITISED, 3, &padded))
        .await;
    assert_eq!(wire.failure(3).await, None);
    wire.send(&post(5, "/echo", &[])).await;
    wire.send(&frame(DATA, PADDED, 5, &[&[4][..], b"hello", &[0; 4]].concat()))
        .await;
    // §8.1: trailers end a request.
    wire.send(&frame(HEADERS, 5, 5, &block(&[("x-sum", "1")]))).await;
    let echoed = wire
        .until(|frame| frame.stream == 5 && frame.kind == DATA)
        .await
        .unwrap();
    assert_eq!(echoed.payload, b"hello");
    // §6.10: a head in many pieces.
    let head = block(&PLAIN);
    wire.send(&frame(HEADERS, END_STREAM, 7, &head[..1])).await;
    for piece in head[1..].chunks(20) {
        wire.send(&frame(CONTINUATION, 0, 7, piece)).await;
    }
    wire.send(&frame(CONTINUATION, END_HEADERS, 7, &[])).await;
    assert_eq!(wire.failure(7).await, None);
    // §5.1: PRIORITY at any time; WINDOW_UPDATE and RST_STREAM on a stream that has just ended.
    wire.send(&frame(PRIORITY, 0, 7, &[0, 0, 0, 0, 1])).await;
    wire.send(&frame(PRIORITY, 0, 99, &[0, 0, 0, 0, 1])).await;
    wire.send(&frame(WINDOW_UPDATE, 0, 7, &[0, 0, 0, 1])).await;
    wire.send(&frame(RST_STREAM, 0, 7, &[0, 0, 0, 8])).await;
    // §8.1.2: HEAD, with a length and no body.
    let mut fields = PLAIN;
    fields[0].1 = "HEAD";
    wire.send(&request(9, &fields)).await;
    let answer = wire.until(|frame| frame.stream == 9).await.unwrap();
    assert!(answer.kind == HEADERS && answer.ends(9), "{answer:?}");
    // §6.8: a client that goes away is served to the end.
    wire.send(&request(11, &PLAIN)).await;
    wire.send(&frame(GOAWAY, 0, 0, &[0; 8])).await;
    assert_eq!(wire.failure(11).await, None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn http2_windows_are_kept() {
    let (_instance, proxy) = proxy().await;
    // §6.9.2: one byte at a time, then a window that grows with the settings.
    let mut wire = Wire::settled(&proxy, &setting(4, 1)).await;
    let mut fields = PLAIN;
    fields[2].1 = "/large/100000";
    wire.send(&request(1, &fields)).await;
    let first = wire.until(|frame| frame.kind == DATA).await.unwrap();
    assert_eq!(first.payload.len(), 1);
    wire.send(&frame(SETTINGS, 0, 0, &setting(4, 1_001))).await;
    let mut seen = 0;
    while seen < 1_000 {
        seen += wire
            .until(|frame| frame.kind == DATA)
            .await
            .unwrap()
            .payload
            .len();
    }
    assert_eq!(seen, 1_000);
    // A window below zero: nothing until it is above.
    wire.send(&frame(SETTINGS, 0, 0, &setting(4, 1))).await;
    wire.send(&frame(WINDOW_UPDATE, 0, 1, &999_u32.to_be_bytes()))
        .await;
    wire.send(&frame(PING, 0, 0, &[1; 8])).await;
    let next = wire
        .until(|frame| matches!(frame.kind, DATA | PING))
        .await
        .unwrap();
    assert_eq!(next.kind, PING, "{next:?}");
    wire.send(&frame(WINDOW_UPDATE, 0, 1, &3_u32.to_be_bytes())).await;
    let next = wire.until(|frame| frame.kind == DATA).await.unwrap();
    assert_eq!(next.payload.len(), 2);
    // No frame is larger than the client allows, and a client may allow more.
    let mut wire = Wire::settled(&proxy, &[setting(4, 1 << 20), setting(5, 65_536)].concat()).await;
    wire.send(&frame(WINDOW_UPDATE, 0, 0, &(1_u32 << 20).to_be_bytes()))
        .await;
    wire.send(&request(1, &fields)).await;
    let (mut seen, mut largest) = (0, 0);
    while seen < 100_000 {
        let piece = wire
            .until(|frame| frame.kind == DATA)
            .await
            .unwrap()
            .payload
            .len();
        (seen, largest) = (seen + piece, largest.max(piece));
    }
    assert!(seen == 100_000 && largest <= 65_536);
}
