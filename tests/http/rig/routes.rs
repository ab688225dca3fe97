//! What there is to ask for: the one list that tests of what holds for all of it
//! walk.

use tests::Request;
use uuid::Uuid;

/// Every route but the probes, and its methods in their order.
const ROUTES: [(&str, &str); 5] = [
    ("/v1/files", "GET, HEAD, POST"),
    ("/v1/files/export", "GET, HEAD"),
    ("/v1/files/{id}", "DELETE, GET, HEAD, PATCH"),
    ("/v1/files/{id}/stats", "GET, HEAD"),
    ("/v1/files/{id}/content", "GET, HEAD"),
];

/// What is open to all.
pub const PROBES: [(&str, &str); 2] = [("/livez", "GET, HEAD"), ("/readyz", "GET, HEAD")];

/// The targets but the probes, those of a file with this id, and their methods.
pub fn targets(id: Uuid) -> impl Iterator<Item = (String, &'static str)> {
    ROUTES.into_iter().map(move |(path, methods)| (path.replace("{id}", &id.to_string()), methods))
}

/// A request for each method of each target, such as would be answered 2xx. HEAD is
/// left out: it is GET, whose answer can be looked at.
pub fn requests(id: Uuid) -> Vec<Request> {
    let mut requests = Vec::new();
    for (target, methods) in targets(id) {
        requests.extend(methods.split(", ").filter_map(|method| match method {
            "HEAD" => None,
            "POST" => Some(Request::post(format!("{target}?name=a"), "hello")),
            "PATCH" => Some(Request::patch(&target, "{\"name\":\"b\"}")),
            method => Some(Request::new(method, &target)),
        }));
    }
    let form = "--XX\r\nContent-Disposition: form-data; filename=\"a\"\r\n\r\nhello\r\n--XX--\r\n";
    let of_form = ("content-type", "multipart/form-data; boundary=XX");
    requests.push(Request::post("/v1/files", form).field(of_form.0, of_form.1));
    requests
}

/// A route that is not in the list would be held by no test that walks it.
#[test]
fn the_list_has_every_route() {
    let routes = include_str!("../../../crates/handler/src/routes.rs");
    for (path, _) in ROUTES {
        assert!(routes.contains(&format!("\"{path}\"")), "{path}");
    }
    assert_eq!(routes.matches(".route(").count(), ROUTES.len() + PROBES.len());
}
