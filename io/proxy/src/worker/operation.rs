//! The name of an operation: method and path, with whatever looks like an id replaced.

/// Longest operation in bytes; what comes after is cut.
const OPERATION_BYTES_MAX: usize = 120;

/// Writes `METHOD /path/{id}` into `out`, replacing its content: segments that are numbers, uuids or
/// hex of eight digits and more, or that mix digits into 20 characters and more, become `{id}`.
pub(super) fn normalise(method: &str, path: &[u8], out: &mut String) {
    out.clear();
    out.push_str(method);
    out.push(' ');
    for segment in path.split(|byte| *byte == b'/').skip(1) {
        out.push('/');
        if is_id(segment) {
            out.push_str("{id}");
        } else {
            out.extend(segment.iter().map(|byte| {
                if byte.is_ascii_graphic() {
                    char::from(*byte)
                } else {
                    '?'
                }
            }));
        }
        if out.len() > OPERATION_BYTES_MAX {
            out.truncate(OPERATION_BYTES_MAX);
            out.push('…');
            break;
        }
    }
}

fn is_id(segment: &[u8]) -> bool {
    let digits = segment.iter().filter(|byte| byte.is_ascii_digit()).count();
    if digits == 0 {
        return false;
    }
    let hex = segment
        .iter()
        .all(|byte| byte.is_ascii_hexdigit() || *byte == b'-');
    digits == segment.len() || (hex && segment.len() >= 8) || segment.len() >= 20
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_replaced_and_names_kept() {
        let mut out = String::new();
        for (path, expected) in [
            ("/", "GET /"),
            ("/blocks", "GET /blocks"),
            ("/blocks/17/lines/4", "GET /blocks/{id}/lines/{id}"),
            ("/v2/blocks", "GET /v2/blocks"),
            ("/b/0189f7a6-1c2d-7000-8000-abcdefabcdef", "GET /b/{id}"),
            ("/b/deadbeef01", "GET /b/{id}"),
            ("/b/deadbeef", "GET /b/deadbeef"),
            ("/b/01ARZ3NDEKTSV4RRFFQ69G5FAV", "GET /b/{id}"),
            ("*", "GET "),
        ] {
            normalise("GET", path.as_bytes(), &mut out);
            assert_eq!(out, expected);
        }
        normalise("GET", format!("/{}", "é".repeat(500)).as_bytes(), &mut out);
        assert!(out.len() <= OPERATION_BYTES_MAX + 3);
    }
}
