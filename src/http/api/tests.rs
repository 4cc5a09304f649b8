//! The document and the routes say the same; what happens on a broker is tested there.
#![expect(clippy::unwrap_used, reason = "a failing test is the point")]

use serde_json::Value;

use super::{ask, openapi, records};

#[test]
fn the_document_lists_the_routes_and_nothing_else() {
    let document: Value = serde_json::from_str(openapi::DOCUMENT).unwrap();
    let mut listed: Vec<&str> =
        document.get("paths").unwrap().as_object().unwrap().keys().map(String::as_str).collect();
    let mut routed: Vec<&str> = records::routes().iter().map(|(path, _)| *path).collect();
    routed.extend(ask::routes().iter().map(|(path, _)| *path));
    listed.sort_unstable();
    routed.sort_unstable();
    assert_eq!(listed, routed);
}

#[test]
fn the_documents_references_lead_somewhere() {
    let document: Value = serde_json::from_str(openapi::DOCUMENT).unwrap();
    let named = openapi::DOCUMENT.split("#/components/schemas/").skip(1);
    let names: Vec<&str> = named.filter_map(|rest| rest.split('"').next()).collect();
    assert!(names.len() > 10);
    for name in names {
        assert!(document.pointer(&format!("/components/schemas/{name}")).is_some(), "{name}");
    }
}
