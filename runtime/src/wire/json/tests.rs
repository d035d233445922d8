use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::json;

use super::Json;
use crate::wire::codec::{decode, encode};

#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
enum Untagged {
    Number(f64),
    Text(String),
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Flat {
    name: String,
    #[serde(flatten)]
    rest: BTreeMap<String, i32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    absent: Option<u8>,
}

fn bytes(value: &impl Serialize) -> Vec<u8> {
    let mut bytes = Vec::new();
    encode(value, &mut bytes).unwrap();
    bytes
}

#[test]
fn json_carries_what_the_format_cannot() {
    let sent = (
        7_u8,
        Json(Untagged::Text("seven".into())),
        Json(json!({"a": [1, null, "x"]})),
        Json(Flat {
            name: "n".into(),
            rest: [("x".into(), 1)].into(),
            absent: None,
        }),
    );
    let bytes = bytes(&sent);
    let (received, rest) = decode(&bytes).unwrap();
    assert_eq!(sent, received);
    assert!(rest.is_empty());
}

#[test]
fn json_that_does_not_fit_tells_line_column_and_type() {
    let bytes = bytes(&Json(json!({"a": true})));
    let error = decode::<Json<BTreeMap<String, u8>>>(&bytes)
        .unwrap_err()
        .to_string();
    assert!(error.contains("BTreeMap"), "{error}");
    assert!(error.contains("line 1 column 9"), "{error}");
}

#[test]
fn value_that_is_not_json_is_an_error_of_the_sender() {
    let map: BTreeMap<(u8, u8), u8> = [((1, 2), 3)].into();
    let mut out = b"before".to_vec();
    let error = encode(&Json(map), &mut out).unwrap_err().to_string();
    assert!(error.contains("key must be a string"), "{error}");
    assert_eq!(out, b"before");
}

#[test]
fn json_derefs_to_the_value() {
    let mut json = Json::from(vec![1]);
    json.push(2);
    assert_eq!(json.len(), 2);
    assert_eq!(json.into_inner(), [1, 2]);
}
