//! What lasts: WebSockets, event streams, slow uploads and downloads. Each says enough for a client to tell
//! whether all of it arrived.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use sha2::{Digest, Sha256};

use crate::{Head, number};

/// Between two events of a stream.
const EVENT_PAUSE: Duration = Duration::from_millis(100);
/// Bytes in each piece of a download.
const PIECE: usize = 4096;
/// The longest message that is echoed.
const MESSAGE_MAX: u64 = 1 << 16;
/// The longest piece of an upload.
const PIECE_MAX: u64 = 1 << 20;

/// Whether a path is served here.
pub(crate) fn is_one(path: &str) -> bool {
    ["/echo", "/events", "/upload", "/download"]
        .iter()
        .any(|known| path.starts_with(known))
}

/// Serves one; an error, or none, ends the connection.
pub(crate) fn talk(
    head: &Head,
    reader: &mut BufReader<TcpStream>,
    writer: &mut TcpStream,
    release: &str,
) -> Option<()> {
    let (path, query) = head.path.split_once('?').unwrap_or((&head.path, ""));
    match path {
        "/echo" => echo(head, reader, writer, release),
        "/events" => events(head, writer, release),
        "/upload" => upload(head, reader, writer, release),
        _ => download(query, writer, release),
    }
    .ok()
}

/// Takes a body and answers with its length and digest.
fn upload(
    head: &Head,
    reader: &mut BufReader<TcpStream>,
    writer: &mut TcpStream,
    release: &str,
) -> io::Result<()> {
    let mut hash = Sha256::new();
    let mut length: u64 = 0;
    if head.field("transfer-encoding").is_empty() {
        let mut body = Vec::new();
        length = number(head.field("content-length"));
        reader.take(length).read_to_end(&mut body)?;
        hash.update(&body);
    } else {
        loop {
            let mut line = String::new();
            reader.read_line(&mut line)?;
            let size = u64::from_str_radix(line.trim_end(), 16).map_err(io::Error::other)?;
            let mut piece = vec![0; usize::try_from(size.min(PIECE_MAX)).map_err(io::Error::other)?];
            reader.read_exact(&mut piece)?;
            hash.update(&piece);
            length += size;
            reader.read_line(&mut String::new())?;
            if size == 0 {
                break;
            }
        }
    }
    let digest: String = hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
    let answer = format!("{length} {digest}");
    write!(
        writer,
        "HTTP/1.1 200 OK\r\ncontent-length: {}\r\nx-release: {release}\r\n\r\n{answer}",
        answer.len()
    )
}

/// `pieces=N&pause=MS`: so many pieces, each of one byte's copies, its number.
fn download(query: &str, writer: &mut TcpStream, release: &str) -> io::Result<()> {
    let value = |name| {
        let mut fields = query.split('&').filter_map(|field| field.split_once('='));
        fields
            .find(|(known, _)| *known == name)
            .map_or(0, |(_, value)| number(value))
    };
    let (pieces, pause): (u64, u64) = (value("pieces"), value("pause"));
    begin_stream(writer, "application/octet-stream", release)?;
    for piece in 0..pieces {
        let byte = u8::try_from(piece % 251).unwrap_or(0);
        write_piece(writer, &[byte; PIECE])?;
        std::thread::sleep(Duration::from_millis(pause));
    }
    writer.write_all(b"0\r\n\r\n")
}

/// Numbered events, from the one after `Last-Event-ID` on, until the client leaves.
fn events(head: &Head, writer: &mut TcpStream, release: &str) -> io::Result<()> {
    let mut id: u64 = number(head.field("last-event-id"));
    begin_stream(writer, "text/event-stream", release)?;
    loop {
        id += 1;
        write_piece(writer, format!("id: {id}\ndata: {release}\n\n").as_bytes())?;
        std::thread::sleep(EVENT_PAUSE);
    }
}

fn begin_stream(writer: &mut TcpStream, kind: &str, release: &str) -> io::Result<()> {
    write!(
        writer,
        "HTTP/1.1 200 OK\r\ncontent-type: {kind}\r\ntransfer-encoding: chunked\r\nx-release: {release}\r\n\r\n"
    )
}

fn write_piece(writer: &mut TcpStream, piece: &[u8]) -> io::Result<()> {
    let mut whole = format!("{:x}\r\n", piece.len()).into_bytes();
    whole.extend_from_slice(piece);
    whole.extend_from_slice(b"\r\n");
    writer.write_all(&whole)
}

/// A WebSocket that says everything back.
fn echo(
    head: &Head,
    reader: &mut BufReader<TcpStream>,
    writer: &mut TcpStream,
    release: &str,
) -> io::Result<()> {
    let key = format!(
        "{}258EAFA5-E914-47DA-95CA-C5AB0DC85B11",
        head.field("sec-websocket-key")
    );
    write!(
        writer,
        "HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\n\
         sec-websocket-accept: {}\r\nx-release: {release}\r\n\r\n",
        base64(&sha1(key.as_bytes()))
    )?;
    loop {
        let (opcode, message) = read_frame(reader)?;
        let answer = match opcode {
            9 => 10,
            10 => continue,
            opcode => opcode,
        };
        let mut frame = vec![0x80 | answer];
        match u8::try_from(message.len()) {
            Ok(length) if length < 126 => frame.push(length),
            _ => {
                frame.push(126);
                let length = u16::try_from(message.len()).map_err(io::Error::other)?;
                frame.extend_from_slice(&length.to_be_bytes());
            }
        }
        frame.extend_from_slice(&message);
        writer.write_all(&frame)?;
        if opcode == 8 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
}

/// A frame's opcode and its payload, unmasked. Clients of tests send whole messages.
fn read_frame(reader: &mut BufReader<TcpStream>) -> io::Result<(u8, Vec<u8>)> {
    let mut start = [0; 2];
    reader.read_exact(&mut start)?;
    let length = match start[1] & 0x7f {
        126 => {
            let mut length = [0; 2];
            reader.read_exact(&mut length)?;
            u64::from(u16::from_be_bytes(length))
        }
        127 => MESSAGE_MAX + 1,
        length => u64::from(length),
    };
    if length >= MESSAGE_MAX || start[1] & 0x80 == 0 {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let mut mask = [0; 4];
    reader.read_exact(&mut mask)?;
    let mut message = vec![0; usize::try_from(length).map_err(io::Error::other)?];
    reader.read_exact(&mut message)?;
    for (place, byte) in message.iter_mut().enumerate() {
        *byte ^= mask[place % 4];
    }
    Ok((start[0] & 0x0f, message))
}

/// What the WebSocket handshake is made of (RFC 6455); nothing here is a secret.
fn sha1(message: &[u8]) -> [u8; 20] {
    let mut state: [u32; 5] = [0x6745_2301, 0xefcd_ab89, 0x98ba_dcfe, 0x1032_5476, 0xc3d2_e1f0];
    let mut padded = message.to_vec();
    padded.push(0x80);
    padded.resize(padded.len().next_multiple_of(64), 0);
    if (message.len() % 64) + 9 > 64 {
        padded.resize(padded.len() + 64, 0);
    }
    let end = padded.len() - 8;
    padded[end..].copy_from_slice(&(message.len() as u64 * 8).to_be_bytes());
    for block in padded.chunks_exact(64) {
        let mut words = [0_u32; 80];
        for (word, bytes) in words.iter_mut().zip(block.chunks_exact(4)) {
            *word = u32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
        }
        for t in 16..80 {
            words[t] = (words[t - 3] ^ words[t - 8] ^ words[t - 14] ^ words[t - 16]).rotate_left(1);
        }
        let [mut a, mut b, mut c, mut d, mut e] = state;
        for (t, word) in words.iter().enumerate() {
            let (f, k) = match t / 20 {
                0 => ((b & c) | (!b & d), 0x5a82_7999),
                1 => (b ^ c ^ d, 0x6ed9_eba1),
                2 => ((b & c) | (b & d) | (c & d), 0x8f1b_bcdc),
                _ => (b ^ c ^ d, 0xca62_c1d6_u32),
            };
            let next = a
                .rotate_left(5)
                .wrapping_add(f)
                .wrapping_add(e)
                .wrapping_add(k)
                .wrapping_add(*word);
            (e, d, c, b, a) = (d, c, b.rotate_left(30), a, next);
        }
        for (whole, part) in state.iter_mut().zip([a, b, c, d, e]) {
            *whole = whole.wrapping_add(part);
        }
    }
    let mut digest = [0; 20];
    for (bytes, word) in digest.chunks_exact_mut(4).zip(state) {
        bytes.copy_from_slice(&word.to_be_bytes());
    }
    digest
}

fn base64(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for three in bytes.chunks(3) {
        let bits = (0..3).fold(0_u32, |bits, place| {
            bits << 8 | u32::from(three.get(place).copied().unwrap_or(0))
        });
        for place in 0..4 {
            let letter = LETTERS[(bits >> (18 - 6 * place) & 63) as usize];
            text.push(if place > three.len() {
                '='
            } else {
                char::from(letter)
            });
        }
    }
    text
}
