//! Accept (RFC 9110, section 12.5.1): which of the forms that there are.

use std::fmt::Write as _;

use headers_accept::Accept;
use http::header::ACCEPT;
use http::{HeaderMap, StatusCode};
use mediatype::{MediaType, Name, ReadParams, Value};

use crate::Problem;

/// The form of `available`, best first, that the client likes most; the first
/// where it does not say. A form has its parameters: who asks for some of them, or
/// none, means it too. Of what the client likes, what can't be read is passed over.
///
/// # Errors
/// 406 where it likes none of them.
pub fn negotiate(headers: &HeaderMap, available: &[&'static str]) -> Result<&'static str, Problem> {
    let chosen = if headers.contains_key(ACCEPT) {
        let forms: Vec<_> =
            available.iter().filter_map(|form| MediaType::parse(form).ok()).collect();
        let bare: Vec<_> = forms.iter().map(MediaType::essence).collect();
        let accept = ranges(headers, &forms);
        let chosen = accept.as_ref().and_then(|accept| accept.negotiate(&bare));
        chosen.and_then(|chosen| bare.iter().position(|form| form == chosen))
    } else {
        Some(0)
    };
    let chosen = chosen.and_then(|index| available.get(index).copied());
    chosen.ok_or_else(|| {
        let title = "There is no such form of it";
        let detail = format!("available: {}", available.join(", "));
        Problem::new(StatusCode::NOT_ACCEPTABLE, "not-acceptable", title, detail)
    })
}

/// What the client likes, without the parameters that are those of `available`.
fn ranges(headers: &HeaderMap, available: &[MediaType<'_>]) -> Option<Accept> {
    let mut ranges = String::new();
    for value in headers.get_all(ACCEPT) {
        for range in members(&String::from_utf8_lossy(value.as_bytes())) {
            let Ok(range) = MediaType::parse(range.trim()) else { continue };
            let form = available.iter().find(|form| form.essence() == range.essence());
            let is_its_own = |(name, value): &(Name<'_>, Value<'_>)| {
                let own = form.and_then(|form| form.get_param(*name));
                own.is_some_and(|own| {
                    own.unquoted_str().eq_ignore_ascii_case(&value.unquoted_str())
                })
            };
            let _ = write!(ranges, "{}", range.essence());
            for (name, value) in range.params().filter(|parameter| !is_its_own(parameter)) {
                let _ = write!(ranges, ";{name}={value}");
            }
            ranges.push(',');
        }
    }
    ranges.parse().ok()
}

/// The members of a list: a comma in quotes is none between two.
fn members(list: &str) -> impl Iterator<Item = &str> {
    let (mut is_quoted, mut is_escaped) = (false, false);
    list.split(move |c| {
        match c {
            _ if is_escaped => is_escaped = false,
            '\\' if is_quoted => is_escaped = true,
            '"' => is_quoted = !is_quoted,
            ',' => return !is_quoted,
            _ => {}
        }
        false
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(accept: Option<&'static str>) -> Option<&'static str> {
        let available = ["application/json", "text/csv; charset=utf-8; header=present"];
        let mut headers = HeaderMap::new();
        if let Some(accept) = accept {
            headers.insert(ACCEPT, accept.parse().unwrap());
        }
        let chosen = negotiate(&headers, &available).ok();
        chosen.and_then(|form| form.split(';').next())
    }

    #[test]
    fn the_client_has_its_way_and_the_first_is_the_default() {
        let (json, csv) = (Some("application/json"), Some("text/csv"));
        assert_eq!(chosen(None), json);
        assert_eq!(chosen(Some("*/*")), json);
        assert_eq!(chosen(Some("text/csv")), csv);
        assert_eq!(chosen(Some("text/*")), csv);
        assert_eq!(chosen(Some("text/csv;q=0.5, application/json")), json);
        assert_eq!(chosen(Some("application/json;q=0.1, text/csv;q=0.2")), csv);
        assert_eq!(chosen(Some("text/html,*/*;q=0.8")), json);
        assert_eq!(chosen(Some("text/csv;header=\"present\";charset=UTF-8;q=0.1")), csv);
        assert_eq!(chosen(Some("x/y;a=\"\\\",\";q=1, text/csv, /, text, é/é, ,")), csv);
        assert_eq!(chosen(Some("text/csv;charset=latin1")), None);
        assert_eq!(chosen(Some("text/csv;header=absent, */*;q=0.1")), json);
        assert_eq!(chosen(Some("")), None);
        assert_eq!(chosen(Some("image/png")), None);
        assert_eq!(chosen(Some("application/json;q=0")), None);
    }
}
