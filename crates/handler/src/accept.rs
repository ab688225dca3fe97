//! Accept (RFC 9110, section 12.5.1): which of the forms that there are.

use headers::HeaderMapExt;
use headers_accept::Accept;
use http::header::ACCEPT;
use http::{HeaderMap, StatusCode};
use mediatype::MediaType;

use crate::Problem;

/// The form of `available`, best first, that the client likes most; the first
/// where it does not say.
///
/// # Errors
/// 406 where it likes none of them, or says it in a way that can't be read.
pub fn negotiate<'a>(
    headers: &HeaderMap,
    available: &'a [MediaType<'a>],
) -> Result<&'a MediaType<'a>, Problem> {
    let unacceptable = || {
        let forms: Vec<String> = available.iter().map(ToString::to_string).collect();
        let title = "There is no such form of it";
        let detail = format!("available: {}", forms.join(", "));
        Problem::new(StatusCode::NOT_ACCEPTABLE, "not-acceptable", title, detail)
    };
    if !headers.contains_key(ACCEPT) {
        return available.first().ok_or_else(unacceptable);
    }
    let accept: Accept = headers.typed_get().ok_or_else(unacceptable)?;
    accept.negotiate(available).ok_or_else(unacceptable)
}

#[cfg(test)]
mod tests {
    use super::*;
    use mediatype::media_type;

    fn chosen(accept: Option<&'static str>) -> Option<String> {
        let available = [media_type!(APPLICATION / JSON), media_type!(TEXT / CSV)];
        let mut headers = HeaderMap::new();
        if let Some(accept) = accept {
            headers.insert(ACCEPT, accept.parse().unwrap());
        }
        negotiate(&headers, &available).ok().map(ToString::to_string)
    }

    #[test]
    fn the_client_has_its_way_and_the_first_is_the_default() {
        let (json, csv) = (Some("application/json".to_owned()), Some("text/csv".to_owned()));
        assert_eq!(chosen(None), json);
        assert_eq!(chosen(Some("*/*")), json);
        assert_eq!(chosen(Some("text/csv")), csv);
        assert_eq!(chosen(Some("text/*")), csv);
        assert_eq!(chosen(Some("text/csv;q=0.5, application/json")), json);
        assert_eq!(chosen(Some("application/json;q=0.1, text/csv;q=0.2")), csv);
        assert_eq!(chosen(Some("text/html,*/*;q=0.8")), json);
        assert_eq!(chosen(Some("image/png")), None);
        assert_eq!(chosen(Some("application/json;q=0")), None);
    }
}
