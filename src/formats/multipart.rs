//! Multipart bodies, `multipart/form-data`: a walk over bytes that are in memory already, which copies none of them.

use bytes::Bytes;
use memchr::memmem;

/// Bytes that the head of one part may have.
const MAX_HEAD_BYTES: usize = 8 << 10;
/// What RFC 2046 allows a boundary to have.
const MAX_BOUNDARY_BYTES: usize = 70;

/// A body that does not hold to its boundary.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MultipartError {
    /// Something else stands where a boundary should.
    #[error("multipart: it does not follow its boundary")]
    NoBoundary,
    /// The body ends inside of a part.
    #[error("multipart: a part has no end")]
    NoEnd,
    /// The head of a part has no end, or is too long.
    #[error("multipart: the head of a part has no end within {MAX_HEAD_BYTES} bytes")]
    NoHeadEnd,
    /// More parts than a request may have.
    #[error("multipart: more than {limit} parts; send one profile in one request")]
    TooMany {
        /// How many it may have.
        limit: usize,
    },
}

/// One part of a body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// What `content-disposition` calls it; empty if it does not.
    pub name: String,
    /// What is in it.
    pub content: Bytes,
}

/// The boundary that a media type announces.
pub fn boundary(content_type: &str) -> Option<String> {
    let (media_type, parameters) = content_type.split_once(';')?;
    if !media_type.trim().eq_ignore_ascii_case("multipart/form-data") {
        return None;
    }
    let boundary = parameter(parameters, "boundary")?;
    (1..=MAX_BOUNDARY_BYTES).contains(&boundary.len()).then_some(boundary)
}

/// Takes the parts out of a whole body, `most` of them at most. The body begins with its boundary.
pub fn split(body: &Bytes, boundary: &str, most: usize) -> Result<Vec<Part>, MultipartError> {
    let delimiter = [b"\r\n--", boundary.as_bytes()].concat();
    let find = memmem::Finder::new(&delimiter);
    let mut rest = body
        .strip_prefix(b"--")
        .and_then(|rest| rest.strip_prefix(boundary.as_bytes()))
        .ok_or(MultipartError::NoBoundary)?;
    let mut parts = Vec::new();
    while !rest.starts_with(b"--") {
        if parts.len() == most {
            return Err(MultipartError::TooMany { limit: most });
        }
        let after = without_blanks(rest);
        let after = after.strip_prefix(b"\r\n").ok_or(MultipartError::NoBoundary)?;
        let (head, content) = split_head(after)?;
        let end = find.find(content).ok_or(MultipartError::NoEnd)?;
        let (content, next) = content.split_at_checked(end).unwrap_or_default();
        parts.push(Part {
            name: name(head),
            content: body.slice_ref(content),
        });
        rest = next.get(delimiter.len()..).unwrap_or_default();
    }
    Ok(parts)
}

/// Blanks are allowed behind a boundary.
fn without_blanks(line: &[u8]) -> &[u8] {
    let blanks = line.iter().take_while(|byte| matches!(byte, b' ' | b'\t')).count();
    line.get(blanks..).unwrap_or_default()
}

/// The lines of the head, and what stands behind the empty line that ends it.
fn split_head(part: &[u8]) -> Result<(&[u8], &[u8]), MultipartError> {
    if let Some(content) = part.strip_prefix(b"\r\n") {
        return Ok((&[], content));
    }
    let looked_at = part.get(..MAX_HEAD_BYTES).unwrap_or(part);
    let end = memmem::find(looked_at, b"\r\n\r\n").ok_or(MultipartError::NoHeadEnd)?;
    let (head, rest) = part.split_at_checked(end).unwrap_or_default();
    Ok((head, rest.get(4..).unwrap_or_default()))
}

fn name(head: &[u8]) -> String {
    let head = String::from_utf8_lossy(head);
    let headers = head.split("\r\n").filter_map(|line| line.split_once(':'));
    let disposition = headers
        .filter(|(key, _)| key.trim().eq_ignore_ascii_case("content-disposition"))
        .find_map(|(_, value)| value.split_once(';'));
    let name = disposition.and_then(|(_, parameters)| parameter(parameters, "name"));
    name.unwrap_or_default()
}

/// The value of one of the parameters `key=value; key="value"`.
fn parameter(parameters: &str, wanted: &str) -> Option<String> {
    let mut rest = parameters;
    loop {
        let (key, after) = rest.split_once('=')?;
        let (value, after) = match after.trim_start().strip_prefix('"') {
            Some(quoted) => unquote(quoted)?,
            None => {
                let (value, after) = after.split_once(';').unwrap_or((after, ""));
                (value.trim().to_owned(), after)
            }
        };
        if key.trim_matches([' ', '\t', ';']).eq_ignore_ascii_case(wanted) {
            return Some(value);
        }
        rest = after;
    }
}

/// The text up to the closing quote, without its escapes, and what follows.
fn unquote(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut characters = text.char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            '"' => return Some((value, text.get(at + 1..).unwrap_or_default())),
            '\\' => value.push(characters.next()?.1),
            other => value.push(other),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn names_and_sizes(body: &[u8]) -> Result<Vec<(String, usize)>, MultipartError> {
        let parts = split(&Bytes::copy_from_slice(body), "B", 4)?;
        Ok(parts.into_iter().map(|part| (part.name, part.content.len())).collect())
    }

    #[test]
    fn boundaries_are_read_from_the_media_type() {
        for (media_type, expected) in [
            ("multipart/form-data; boundary=abc", Some("abc")),
            ("Multipart/Form-Data;charset=x; Boundary=\"a b\" ", Some("a b")),
            (
                "multipart/form-data; title=\"x; boundary=no\"; boundary=yes",
                Some("yes"),
            ),
            ("multipart/form-data", None),
            ("multipart/form-data; boundary=", None),
            ("multipart/form-data; boundary=\"", None),
            ("application/json; boundary=abc", None),
        ] {
            assert_eq!(boundary(media_type).as_deref(), expected, "{media_type}");
        }
        let long = format!("multipart/form-data; boundary={}", "b".repeat(71));
        assert_eq!(boundary(&long), None);
    }

    #[test]
    fn parts_have_names_and_contents() {
        let body =
            b"--B  \r\nX: y\r\ncontent-disposition: form-data; filename=\"a;name=x\"; name=\"p\\\"q\"\r\n\r\n\r\n--b\
            \r\n--B\r\n\r\nbare\r\n--B--\r\nwhatever";
        assert_eq!(
            names_and_sizes(body),
            Ok(vec![("p\"q".to_owned(), 5), (String::new(), 4)])
        );
        assert_eq!(names_and_sizes(b"--B--"), Ok(vec![]));
    }

    #[test]
    fn what_does_not_hold_is_told() {
        for (body, error) in [
            (&b""[..], MultipartError::NoBoundary),
            (b"--C\r\n", MultipartError::NoBoundary),
            (b"--Bx\r\n", MultipartError::NoBoundary),
            (b"--B\r\nA: b\r\n", MultipartError::NoHeadEnd),
            (b"--B\r\n\r\ncontent", MultipartError::NoEnd),
            (b"--B\r\n\r\ncontent\r\n--B", MultipartError::NoBoundary),
        ] {
            assert_eq!(names_and_sizes(body), Err(error), "{body:?}");
        }
        let long_head = [b"--B\r\nA: ", &[b'a'; MAX_HEAD_BYTES][..], b"\r\n\r\nx\r\n--B--"].concat();
        assert_eq!(names_and_sizes(&long_head), Err(MultipartError::NoHeadEnd));
        let many = b"--B\r\n\r\nx\r\n".repeat(5);
        assert_eq!(names_and_sizes(&many), Err(MultipartError::TooMany { limit: 4 }));
    }

    proptest! {
        #[test]
        fn prop_what_is_joined_is_split_again(
            parts in proptest::collection::vec(("[a-z;=\" ]{0,8}", proptest::collection::vec(any::<u8>(), 0..40)), 0..5),
        ) {
            let mut body = Vec::new();
            for (name, content) in &parts {
                let name = name.replace('"', "\\\"");
                let head = format!("--=unlikely=\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n");
                body.extend_from_slice(head.as_bytes());
                body.extend_from_slice(content);
                body.extend_from_slice(b"\r\n");
            }
            body.extend_from_slice(b"--=unlikely=--");
            let got = split(&body.into(), "=unlikely=", 5).expect("a whole body");
            let got: Vec<_> = got.into_iter().map(|part| (part.name, part.content.to_vec())).collect();
            prop_assert_eq!(got, parts);
        }

        #[test]
        fn prop_any_bytes_are_answered(bytes in proptest::collection::vec(prop_oneof![Just(b'-'), Just(b'B'), Just(b'\r'), Just(b'\n'), any::<u8>()], 0..200)) {
            let _ = split(&bytes.into(), "B", 4);
        }
    }
}
