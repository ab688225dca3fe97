//! Conditional and range requests (RFC 9110, sections 13 and 14).

use std::num::NonZeroUsize;
use std::ops::Range;
use std::time::SystemTime;

use headers::{ETag, HeaderMapExt, IfMatch, IfModifiedSince, IfNoneMatch, IfUnmodifiedSince};
use http::HeaderMap;
use http::header::{IF_MATCH, IF_NONE_MATCH, IF_RANGE, IF_UNMODIFIED_SINCE, RANGE};
use http_range_header::{RangeUnsatisfiableError, parse_range_header_with_max_ranges};

use crate::Problem;

/// What a representation is known by.
#[derive(Clone, Debug)]
pub struct Validators {
    /// A strong one.
    pub etag: ETag,
    /// To the second.
    pub last_modified: SystemTime,
}

/// What the preconditions of a GET or HEAD come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Precondition {
    /// Answer as if there were none.
    Passed,
    /// 304.
    NotModified,
}

/// Evaluates the preconditions of a GET or HEAD, in the order of section
/// 13.2.2. A date that can't be read is passed over.
///
/// # Errors
/// 412.
pub fn evaluate(headers: &HeaderMap, validators: &Validators) -> Result<Precondition, Problem> {
    if_match(headers, validators)?;
    let Validators { etag, last_modified } = validators;
    let modified = match headers.typed_get::<IfNoneMatch>() {
        Some(condition) => condition.precondition_passes(etag),
        None => match headers.typed_get::<IfModifiedSince>() {
            Some(condition) => condition.is_modified(*last_modified),
            None => true,
        },
    };
    Ok(if modified { Precondition::Passed } else { Precondition::NotModified })
}

/// Whether a request carries a condition on the state that it would change.
#[must_use]
pub fn is_conditional(headers: &HeaderMap) -> bool {
    [IF_MATCH, IF_NONE_MATCH, IF_UNMODIFIED_SINCE].iter().any(|name| headers.contains_key(name))
}

/// Evaluates the preconditions of a method that changes something: there,
/// If-None-Match that matches is 412 too.
///
/// # Errors
/// As [`evaluate`].
pub fn evaluate_change(headers: &HeaderMap, validators: &Validators) -> Result<(), Problem> {
    if_match(headers, validators)?;
    match headers.typed_get::<IfNoneMatch>() {
        Some(condition) if !condition.precondition_passes(&validators.etag) => {
            Err(Problem::precondition_failed())
        }
        _ => Ok(()),
    }
}

fn if_match(headers: &HeaderMap, validators: &Validators) -> Result<(), Problem> {
    let Validators { etag, last_modified } = validators;
    // One that can't be read matches nothing.
    let holds = match headers.typed_get::<IfMatch>() {
        Some(condition) => condition.precondition_passes(etag),
        None => match headers.typed_get::<IfUnmodifiedSince>() {
            Some(condition) => condition.precondition_passes(*last_modified),
            None => true,
        },
    };
    if holds { Ok(()) } else { Err(Problem::precondition_failed()) }
}

/// The one range that a GET asks for, of content of `size` bytes; None for the
/// whole: without Range, with one that can't be read, with several, or with an
/// If-Range that names another representation.
///
/// # Errors
/// A range that lies outside: the caller answers 416 with Content-Range.
pub fn range(
    headers: &HeaderMap,
    validators: &Validators,
    size: u64,
) -> Result<Option<Range<u64>>, Unsatisfiable> {
    let mut values = headers.get_all(RANGE).iter();
    let (Some(value), None) = (values.next(), values.next()) else {
        return Ok(None);
    };
    if !if_range_holds(headers, validators) {
        return Ok(None);
    }
    let Ok(value) = value.to_str() else { return Ok(None) };
    let Ok(parsed) = parse_range_header_with_max_ranges(value, NonZeroUsize::MIN) else {
        return Ok(None);
    };
    match parsed.validate(size).as_deref() {
        Ok([range]) => Ok(Some(*range.start()..range.end().saturating_add(1).min(size))),
        Ok(_) => Ok(None),
        Err(RangeUnsatisfiableError::Unsatisfiable) => Err(Unsatisfiable),
        Err(_) => Ok(None),
    }
}

/// The range lies outside of the content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unsatisfiable;

/// Section 13.1.5: strong comparison of tags, and a date only when equal.
fn if_range_holds(headers: &HeaderMap, validators: &Validators) -> bool {
    let Some(value) = headers.get(IF_RANGE) else { return true };
    let mut own = HeaderMap::new();
    own.typed_insert(validators.etag.clone());
    if own.values().any(|tag| tag == value) {
        return true;
    }
    let date = value.to_str().ok().and_then(|value| httpdate::parse_http_date(value).ok());
    date == Some(validators.last_modified)
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use http::HeaderValue;

    use super::*;

    fn validators() -> Validators {
        Validators {
            etag: "\"abc\"".parse().unwrap(),
            last_modified: UNIX_EPOCH + Duration::from_secs(784_111_777),
        }
    }

    fn fields(fields: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(*name, HeaderValue::from_static(value));
        }
        headers
    }

    #[test]
    fn ranges_by_the_cases_of_the_rfc() {
        let of = |value, size| range(&fields(&[("range", value)]), &validators(), size);
        assert_eq!(of("bytes=0-4", 10), Ok(Some(0..5)));
        assert_eq!(of("bytes=5-", 10), Ok(Some(5..10)));
        assert_eq!(of("bytes=-3", 10), Ok(Some(7..10)));
        assert_eq!(of("bytes=-30", 10), Ok(Some(0..10)), "a suffix longer than the content");
        assert_eq!(of("bytes=5-99", 10), Ok(Some(5..10)), "an end beyond the content");
        assert_eq!(of("bytes=10-", 10), Err(Unsatisfiable));
        assert_eq!(of("bytes=-0", 10), Err(Unsatisfiable));
        assert_eq!(of("bytes=0-", 0), Err(Unsatisfiable), "empty content");
        assert_eq!(of("bytes=0-1,3-4", 10), Ok(None), "several: the whole");
        for odd in ["bytes=4-2", "bytes=", "bytes=a-b", "lines=0-1", "bytes 0-1", "bytes=-", "0-1"]
        {
            assert_eq!(of(odd, 10), Ok(None), "{odd}");
        }
        let largest = "bytes=0-18446744073709551615";
        assert_eq!(of(largest, 10), Ok(Some(0..10)));
    }

    #[test]
    fn if_range_compares_strongly() {
        let of = |value| {
            range(&fields(&[("range", "bytes=0-0"), ("if-range", value)]), &validators(), 10)
        };
        assert_eq!(of("\"abc\""), Ok(Some(0..1)));
        assert_eq!(of("Sun, 06 Nov 1994 08:49:37 GMT"), Ok(Some(0..1)));
        for other in [
            "\"other\"",
            "W/\"abc\"",
            "Sun, 06 Nov 1994 08:49:38 GMT",
            "Sun, 06 Nov 1994 08:49:36 GMT",
            "nonsense",
        ] {
            assert_eq!(of(other), Ok(None), "{other}");
        }
    }

    #[test]
    fn preconditions_in_their_order() {
        use Precondition::{NotModified, Passed};
        let of = |list: &[(&'static str, &'static str)]| {
            evaluate(&fields(list), &validators()).map_err(drop)
        };
        let (before, at) = ("Sun, 06 Nov 1994 08:49:36 GMT", "Sun, 06 Nov 1994 08:49:37 GMT");
        assert_eq!(of(&[]), Ok(Passed));
        assert_eq!(of(&[("if-match", "\"abc\"")]), Ok(Passed));
        assert_eq!(of(&[("if-match", "*")]), Ok(Passed));
        assert_eq!(of(&[("if-match", "W/\"abc\"")]), Err(()), "strong comparison");
        assert_eq!(of(&[("if-match", "\"x\"")]), Err(()));
        assert_eq!(of(&[("if-unmodified-since", at)]), Ok(Passed));
        assert_eq!(of(&[("if-unmodified-since", before)]), Err(()));
        assert_eq!(of(&[("if-match", "\"abc\""), ("if-unmodified-since", before)]), Ok(Passed));
        assert_eq!(of(&[("if-none-match", "\"abc\"")]), Ok(NotModified));
        assert_eq!(of(&[("if-none-match", "W/\"abc\"")]), Ok(NotModified), "weak comparison");
        assert_eq!(of(&[("if-none-match", "\"x\", \"abc\"")]), Ok(NotModified));
        assert_eq!(of(&[("if-none-match", "*")]), Ok(NotModified));
        assert_eq!(of(&[("if-none-match", "\"x\"")]), Ok(Passed));
        assert_eq!(of(&[("if-modified-since", at)]), Ok(NotModified));
        assert_eq!(of(&[("if-modified-since", before)]), Ok(Passed));
        assert_eq!(of(&[("if-none-match", "\"x\""), ("if-modified-since", at)]), Ok(Passed));
        assert_eq!(of(&[("if-modified-since", "yesterday")]), Ok(Passed));
    }

    #[test]
    fn a_change_is_refused_where_a_read_would_be_spared() {
        let of = |name, value| evaluate_change(&fields(&[(name, value)]), &validators()).is_ok();
        assert!(of("if-none-match", "\"x\""));
        assert!(!of("if-none-match", "\"abc\""));
        assert!(!of("if-none-match", "*"));
        assert!(of("if-match", "\"abc\""));
        assert!(!of("if-match", "\"x\""));
    }
}
