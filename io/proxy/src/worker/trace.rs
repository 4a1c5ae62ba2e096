//! W3C Trace Context (level 1): continued where the client began one, begun where not.

/// A request's place in a trace.
#[derive(Debug, Clone, Copy)]
pub(super) struct Trace {
    pub(super) trace_id: u128,
    /// The proxy's own span.
    pub(super) span_id: u64,
    pub(super) parent: Option<u64>,
    flags: u8,
}

impl Trace {
    /// Continues `traceparent`, or begins a sampled trace when there is none that is valid.
    pub(super) fn from_header(traceparent: Option<&[u8]>, rng: &mut fastrand::Rng) -> Self {
        let span_id = rng.u64(1..);
        match traceparent.and_then(parse) {
            Some((trace_id, parent, flags)) => Trace {
                trace_id,
                span_id,
                parent: Some(parent),
                flags,
            },
            None => Trace {
                trace_id: rng.u128(1..),
                span_id,
                parent: None,
                flags: 1,
            },
        }
    }

    /// The header for the instance: `00-<trace>-<span>-<flags>`.
    pub(super) fn header(&self) -> [u8; 55] {
        let mut text = *b"00-00000000000000000000000000000000-0000000000000000-00";
        write_hex(&mut text[3..35], self.trace_id);
        write_hex(&mut text[36..52], u128::from(self.span_id));
        write_hex(&mut text[53..55], u128::from(self.flags));
        text
    }
}

fn write_hex(out: &mut [u8], value: u128) {
    let len = out.len();
    for (index, digit) in out.iter_mut().enumerate() {
        *digit = b"0123456789abcdef"[(value >> ((len - 1 - index) * 4)) as usize & 15];
    }
}

fn parse(text: &[u8]) -> Option<(u128, u64, u8)> {
    if text.len() < 55 || text[2] != b'-' || text[35] != b'-' || text[52] != b'-' {
        return None;
    }
    let version = read_hex(&text[..2])?;
    // A later version may be longer, after another dash; ff is forbidden.
    let fits = if version == 0 {
        text.len() == 55
    } else {
        text.len() == 55 || text[55] == b'-'
    };
    let (trace_id, parent) = (read_hex(&text[3..35])?, read_hex(&text[36..52])? as u64);
    let flags = read_hex(&text[53..55])? as u8;
    (version != 0xff && fits && trace_id != 0 && parent != 0).then_some((trace_id, parent, flags))
}

fn read_hex(text: &[u8]) -> Option<u128> {
    text.iter().try_fold(0, |sum, digit| {
        let value = match digit {
            b'0'..=b'9' => digit - b'0',
            b'a'..=b'f' => digit - b'a' + 10,
            _ => return None,
        };
        Some((sum << 4) | u128::from(value))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn traces_are_continued_or_begun() {
        let mut rng = fastrand::Rng::with_seed(1);
        let header = b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00";
        let trace = Trace::from_header(Some(header), &mut rng);
        assert_eq!(
            (trace.trace_id, trace.parent),
            (
                0x4bf9_2f35_77b3_4da6_a3ce_929d_0e0e_4736,
                Some(0x00f0_67aa_0ba9_02b7)
            )
        );
        let sent = trace.header();
        assert_eq!((&sent[..35], &sent[52..]), (&header[..35], &header[52..]));
        assert_eq!(parse(&sent).map(|(_, span, _)| span), Some(trace.span_id));
        for bad in [
            "",
            "00-0",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-00",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-00",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00-x",
        ] {
            assert_eq!(
                Trace::from_header(Some(bad.as_bytes()), &mut rng).parent,
                None,
                "{bad}"
            );
        }
    }
}
