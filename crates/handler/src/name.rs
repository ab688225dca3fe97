//! File names: what is accepted, and how one is sent back safely.

use http::HeaderValue;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use crate::Problem;

/// The longest name, in bytes: that of most file systems, so that whoever
/// downloads a file can save it. The table has the same limit.
pub const MAX_NAME: usize = 255;

/// RFC 8187's attr-char, beside letters and digits.
const EXT_VALUE: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'!')
    .remove(b'#')
    .remove(b'$')
    .remove(b'&')
    .remove(b'+')
    .remove(b'-')
    .remove(b'.')
    .remove(b'^')
    .remove(b'_')
    .remove(b'`')
    .remove(b'|')
    .remove(b'~');

/// Checks a name: 1 to 255 bytes, no path, nothing that a terminal, a file
/// manager or a log would show as something else.
///
/// # Errors
/// 422, saying which rule is broken.
pub fn check(name: String) -> Result<String, Problem> {
    if name.is_empty() || name.len() > MAX_NAME {
        return Err(Problem::invalid(format!("name: 1 to {MAX_NAME} bytes, not {}", name.len())));
    }
    if name == "." || name == ".." || name.contains(['/', '\\']) {
        return Err(Problem::invalid("name: a name, not a path"));
    }
    // U+FFFD stands where the query was not UTF-8.
    if name.contains('\u{fffd}') {
        return Err(Problem::invalid("name: UTF-8 only, and no U+FFFD"));
    }
    if name.contains(|c: char| c.is_control() || is_deceptive(c)) {
        return Err(Problem::invalid("name: no control, separator, direction or invisible marks"));
    }
    Ok(name)
}

/// Line separators, and what nobody sees: Unicode's format characters (category Cf: marks
/// that turn the direction of what follows, soft hyphens, tags) and the Hangul fillers.
/// Not those that are seen (signs around Arabic, Syriac and Kaithi numbers), nor joiners,
/// U+200C and U+200D, which are part of words in some scripts.
fn is_deceptive(c: char) -> bool {
    matches!(c,
        '\u{2028}' | '\u{2029}'
        | '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}' | '\u{200e}' | '\u{200f}'
        | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}'
        | '\u{13430}'..='\u{1343f}' | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}'
        | '\u{e0000}'..='\u{e007f}'
        | '\u{115f}' | '\u{1160}' | '\u{3164}' | '\u{ffa0}')
}

/// Content-Disposition for a download (RFC 6266): always an attachment, the
/// name once in plain ASCII for old clients, once whole (RFC 8187).
#[must_use]
pub fn disposition(name: &str) -> HeaderValue {
    let plain = |c: char| c.is_ascii() && !c.is_ascii_control() && !"\"\\%/;".contains(c);
    let ascii: String = name.chars().map(|c| if plain(c) { c } else { '_' }).collect();
    let mut value = format!("attachment; filename=\"{ascii}\"");
    if ascii != name {
        value.push_str("; filename*=UTF-8''");
        value.extend(utf8_percent_encode(name, EXT_VALUE));
    }
    HeaderValue::try_from(value).unwrap_or(HeaderValue::from_static("attachment"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_and_line_breaks_stay_inside_the_value() {
        let value = disposition("a\"; filename=\"evil.exe");
        let value = value.to_str().unwrap();
        assert_eq!(value.matches('"').count(), 2, "{value}");
        assert!(value.starts_with("attachment; filename=\"a__ filename=_evil.exe\"; filename*="));
        assert!(!disposition("a\r\nSet-Cookie: x").to_str().unwrap().contains(['\r', '\n']));
    }

    #[test]
    fn a_plain_name_is_sent_once() {
        assert_eq!(disposition("report 1.pdf"), "attachment; filename=\"report 1.pdf\"");
    }

    #[test]
    fn a_name_beyond_ascii_is_sent_whole_beside_a_plain_one() {
        let value = disposition("naïve.txt");
        assert_eq!(value, "attachment; filename=\"na_ve.txt\"; filename*=UTF-8''na%C3%AFve.txt");
    }

    #[test]
    fn paths_and_deceptive_names_are_refused() {
        let long = "x".repeat(256);
        for name in [
            "",
            ".",
            "..",
            "../a",
            "a\\b",
            "a\nb",
            "a\0",
            "\u{7f}",
            "\u{85}",
            "exe.\u{202e}txt",
            "a\u{ad}b",
            "a\u{2062}b",
            "\u{3164}",
            "a\u{180e}b",
            "\u{fffd}",
            &long,
        ] {
            assert!(check(name.to_owned()).is_err(), "{name:?}");
        }
        let longest = "x".repeat(255);
        for name in
            ["a", "...", "a\"b", "文件.txt", "שלום.txt", "می\u{200c}خواهم", "\u{600}١", &longest]
        {
            assert!(check(name.to_owned()).is_ok(), "{name:?}");
        }
    }
}
